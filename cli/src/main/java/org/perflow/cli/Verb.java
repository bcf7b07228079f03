package org.perflow.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Set;
import java.util.concurrent.Callable;
import org.jspecify.annotations.Nullable;
import org.perflow.cli.terminal.FetchProgress;
import org.perflow.cli.terminal.TerminalWriter;
import org.perflow.hub.Hub;
import org.perflow.io.AtomicFiles;
import org.perflow.io.Json;
import org.perflow.io.Reading;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.ArgSpec;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/**
 * What all verbs share: {@code --json}, {@code --stacktrace}, {@code --help} and where to print.
 */
@Command(
    mixinStandardHelpOptions = true,
    version = Main.VERSION,
    usageHelpAutoWidth = false,
    usageHelpWidth = 100,
    optionListHeading = "%nOptions:%n",
    sortOptions = false)
abstract class Verb implements Callable<Integer> {
  private static final Set<String> OUTPUTS =
      Set.of("--out", "--save-latents", "--sheet", "--cache", "TO");

  @Spec CommandSpec spec;

  @Option(
      names = "--json",
      order = 100,
      description = "Print the result as JSON on standard output.")
  boolean json;

  @Option(
      names = "--stacktrace",
      order = 101,
      description = "Show where in the program an error came from.")
  boolean stacktrace;

  /** Does the work; an exception becomes one line on standard error and an exit code. */
  abstract void run() throws Exception;

  @Override
  public final Integer call() throws Exception {
    checkOutputs();
    try {
      run();
    } catch (Error e) { // an answer, too
      throw new IllegalStateException(explain(e), e);
    }
    out().flush();
    return Main.OK;
  }

  /**
   * The file or folder of a model that is named by its path or, where there is none, by its name on
   * the hub; it is fetched, as far as it is not here yet. Every option that names a model comes
   * here.
   */
  final Path fetch(String named) throws IOException {
    try (FetchProgress progress = new FetchProgress(err())) {
      return Hub.ofEnvironment().withListener(progress).resolve(named);
    }
  }

  /** The same of a model that may be left out. */
  final Path fetch(@Nullable String named, Path otherwise) throws IOException {
    return named == null ? otherwise : fetch(named);
  }

  /** What would help; who was reading a file has said so before ({@link Reading}). */
  private static String explain(Error e) {
    if (e instanceof OutOfMemoryError) {
      return "Java's heap of %,d MB is full: give it more, as in PERFLOW_JAVA_OPTS=-Xmx8g, or do less at a time (--batch)"
          .formatted(Runtime.getRuntime().maxMemory() >> 20);
    }
    if (e instanceof StackOverflowError) {
      return "what was read is nested too deeply; --stacktrace shows where";
    }
    Throwable cause = e.getCause(); // libtorch that cannot be unpacked, say: of a class's first use
    return "%s; --stacktrace shows where"
        .formatted(e instanceof LinkageError && cause != null ? cause.getMessage() : e);
  }

  /** What is named to be written can be, before hours of work go into it. */
  private void checkOutputs() throws IOException {
    for (ArgSpec arg : spec.args()) {
      String name = arg instanceof OptionSpec option ? option.longestName() : arg.paramLabel();
      if (OUTPUTS.contains(name) && arg.getValue() instanceof Path path) {
        if (arg.paramLabel().equals("DIR")) {
          AtomicFiles.checkFolder(path);
        } else {
          AtomicFiles.checkFile(path);
        }
      }
    }
  }

  /** Standard output, for results. */
  final PrintWriter out() {
    return TerminalWriter.on(spec.commandLine().getOut());
  }

  /** Standard error, for progress and notes. */
  final PrintWriter err() {
    return TerminalWriter.on(spec.commandLine().getErr());
  }

  /** Prints {@code result} as JSON where asked to, else {@code text}. */
  final void report(Object result, String text) throws JsonProcessingException {
    out().println(json ? Json.MAPPER.writeValueAsString(result) : text);
  }
}
