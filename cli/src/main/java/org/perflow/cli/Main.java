package org.perflow.cli;

import java.io.PrintWriter;
import java.io.UncheckedIOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import org.perflow.cli.options.OptionsFromRecords;
import org.perflow.cli.terminal.TerminalWriter;
import org.perflow.hub.HubException;
import org.perflow.io.FormatException;
import org.perflow.io.Suggestions;
import picocli.CommandLine;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.ParameterException;
import picocli.CommandLine.ParseResult;
import picocli.CommandLine.Spec;
import picocli.CommandLine.UnmatchedArgumentException;

/** The {@code perflow} command. */
@Command(
    name = "perflow",
    mixinStandardHelpOptions = true,
    version = Main.VERSION,
    usageHelpWidth = 100,
    description = "Makes text-to-image diffusion models draw in a few steps (PeRFlow).",
    commandListHeading = "%nCommands:%n",
    subcommands = {
      GenerateCommand.class,
      RefineCommand.class,
      ServeCommand.class,
      DemoCommand.class,
      AccelerateCommand.class,
      EvaluateCommand.class,
      CompareCommand.class,
      SolversCommand.class,
      TrajectoriesCommand.class,
      PretrainCommand.class,
      DeltaCommand.class,
      ModelsCommand.class,
      InspectCommand.class,
      ConvertCommand.class,
      DataCommand.class,
      BenchmarkCommand.class,
      DoctorCommand.class,
    },
    footer = {
      "",
      "Examples:",
      "  perflow demo                                  see it work, in a few minutes",
      "  perflow generate --prompt \"red apple\"         one picture in 4 steps",
      "  perflow serve                                 a page to draw at, and APIs that clients know",
      "  perflow COMMAND --help                        options and examples of a command",
      "",
      "Exit codes: 0 done, 1 failed while running, 2 wrong usage or input."
    })
public final class Main implements Runnable {
  static final String VERSION = "perflow 0.1.0-SNAPSHOT";
  static final int OK = 0;
  static final int FAILED = 1;
  static final int BAD_INPUT = 2;

  private static final Set<HubException.Kind> NO_SUCH_MODEL =
      Set.of(HubException.Kind.ABSENT, HubException.Kind.DENIED, HubException.Kind.OFFLINE);

  @Spec private CommandSpec spec;

  public static void main(String[] args) {
    Locale.setDefault(Locale.ROOT); // figures look the same everywhere
    CommandLine commands =
        commandLine()
            .setOut(new PrintWriter(System.out, true, StandardCharsets.UTF_8))
            .setErr(new PrintWriter(System.err, true, StandardCharsets.UTF_8));
    System.exit(commands.execute(args));
  }

  /** The whole command tree with our exit codes and one-line errors. */
  static CommandLine commandLine() {
    CommandLine commands = new CommandLine(new Main());
    addOptions(commands);
    return commands
        .setCaseInsensitiveEnumValuesAllowed(true)
        .setParameterExceptionHandler(Main::usageError)
        .setExecutionExceptionHandler(Main::failure);
  }

  private static void addOptions(CommandLine parent) {
    for (CommandLine command : parent.getSubcommands().values()) {
      if (command.getCommand() instanceof OptionsFromRecords verb) {
        verb.addOptions();
      }
      addOptions(command);
    }
  }

  @Override
  public void run() {
    spec.commandLine().usage(spec.commandLine().getOut());
  }

  private static int usageError(ParameterException e, String[] args) {
    CommandLine command = e.getCommandLine();
    String name = command.getCommandSpec().qualifiedName();
    TerminalWriter.on(command.getErr())
        .printf("%s: %s%s (see %s --help)%n", name, oneLine(e), meant(e), name);
    return BAD_INPUT;
  }

  /** The option or command that an unknown one is nearest to. */
  private static String meant(ParameterException e) {
    CommandLine command = e.getCommandLine();
    List<String> unknown =
        e instanceof UnmatchedArgumentException unmatched
            ? unmatched.getUnmatched()
            : command.getUnmatchedArguments(); // a required option is missing as it is mistyped
    if (unknown.isEmpty()) {
      return "";
    }
    String got = unknown.get(0).replaceFirst("=.*", "");
    Set<String> known =
        got.startsWith("-")
            ? command.getCommandSpec().optionsMap().keySet()
            : command.getSubcommands().keySet();
    return Suggestions.nearest(got, known)
        .map(name -> "; did you mean '" + name + "' rather than '" + got + "'?")
        .orElse("");
  }

  private static int failure(Exception e, CommandLine command, ParseResult parsed) {
    ParseResult verb = parsed;
    while (verb.hasSubcommand()) {
      verb = verb.subcommand();
    }
    PrintWriter err = TerminalWriter.on(command.getErr());
    if (verb.hasMatchedOption("--stacktrace")) {
      e.printStackTrace(err);
    }
    Exception said = e instanceof UncheckedIOException unchecked ? unchecked.getCause() : e;
    err.printf("%s: %s%n", command.getCommandSpec().qualifiedName(), oneLine(said));
    return isBadInput(said) ? BAD_INPUT : FAILED;
  }

  private static boolean isBadInput(Exception e) {
    return e instanceof IllegalArgumentException
        || e instanceof FormatException
        || e instanceof FileSystemException
        || (e instanceof HubException hub && NO_SUCH_MODEL.contains(hub.kind()));
  }

  private static String bare(FileSystemException e) {
    if (e instanceof NoSuchFileException) {
      return ": there is no such file";
    } else if (e instanceof AccessDeniedException) {
      return ": access denied";
    } else if (e instanceof FileAlreadyExistsException) {
      return ": is a file, not a folder";
    } else if (e instanceof NotDirectoryException) {
      return ": is no folder";
    }
    return "";
  }

  private static String oneLine(Exception e) {
    String message = e.getMessage();
    if (message == null || message.isBlank()) {
      return e.toString();
    }
    if (e instanceof FileSystemException file && file.getReason() == null) {
      message += bare(file); // the message of these is only the path
    }
    int trace = message.indexOf("\nException raised from"); // libtorch appends its own stack trace
    if (trace > 0) {
      message = message.substring(0, trace);
    }
    return message.strip().replaceAll("\\s*\\R\\s*", " ");
  }
}
