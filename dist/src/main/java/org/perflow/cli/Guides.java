package org.perflow.cli;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import picocli.AutoComplete;
import picocli.CommandLine;
import picocli.codegen.docgen.manpage.ManPageGenerator;

/**
 * Writes what archives have beside the program, from the commands as they are: {@code
 * completion/perflow} for bash and zsh, {@code man/*.adoc}.
 */
final class Guides {
  private Guides() {}

  public static void main(String[] args) throws IOException {
    Path folder = Path.of(args[0]);
    CommandLine perflow = Main.commandLine();
    Path completion = Files.createDirectories(folder.resolve("completion"));
    Files.writeString(completion.resolve("perflow"), AutoComplete.bash("perflow", perflow));
    Path man = Files.createDirectories(folder.resolve("man"));
    int exitCode =
        ManPageGenerator.generateManPage(
            man.toFile(), null, new boolean[0], true, perflow.getCommandSpec());
    if (exitCode != 0) {
      throw new IOException("picocli's generator of man pages failed, exit code " + exitCode);
    }
    try (Stream<Path> pages = Files.list(man)) {
      for (Path page : pages.toList()) {
        Files.writeString(page, escapeBrackets(Files.readString(page)));
      }
    }
  }

  /**
   * Of labels like {@code _FILE[:WEIGHT]_}, whose brackets AsciiDoc takes for a role of its own.
   */
  private static String escapeBrackets(String page) {
    return page.replaceAll("_(\\w+)\\[([^]]*)]_", "_$1&#91;$2&#93;_");
  }
}
