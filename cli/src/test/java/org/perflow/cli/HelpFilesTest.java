package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.perflow.accelerate.Methods;
import org.perflow.distill.Method;
import picocli.CommandLine;
import picocli.CommandLine.Help.Ansi;

/**
 * docs/help holds the help text of every command, so that a change of the interface shows in the
 * diff. To bring it up to date: {@code mvn -pl cli -am test -Dtest=HelpFilesTest
 * -Dsurefire.failIfNoSpecifiedTests=false -Dperflow.updateHelp}.
 */
class HelpFilesTest {
  private static final Path FOLDER = Path.of("..", "docs", "help");

  @Test
  void areCurrent() throws IOException {
    Map<String, String> expected = new TreeMap<>();
    collect(Main.commandLine(), expected);
    for (Method<?> method : Methods.ALL) { // the settings of each are a page of their own
      expected.put("perflow-accelerate-%s.txt".formatted(method.name()), text(method));
    }
    if (System.getProperty("perflow.updateHelp") != null) {
      update(expected);
    }
    Map<String, String> found = new TreeMap<>();
    try (Stream<Path> files = Files.list(FOLDER)) {
      for (Path file : files.toList()) {
        found.put(file.getFileName().toString(), Files.readString(file));
      }
    }
    assertThat(found).isEqualTo(expected);
  }

  private static void collect(CommandLine command, Map<String, String> texts) {
    String name = command.getCommandSpec().qualifiedName("-") + ".txt";
    texts.put(name, text(command));
    command.getSubcommands().values().forEach(sub -> collect(sub, texts));
  }

  private static String text(CommandLine command) {
    String text = command.getUsageMessage(Ansi.OFF).replace(System.lineSeparator(), "\n");
    return text.lines().map(String::stripTrailing).reduce("", (a, b) -> a + b + "\n");
  }

  /** What {@code accelerate --method NAME --help} prints. */
  private static String text(Method<?> method) {
    CommandLine commands = Main.commandLine();
    commands.parseArgs("accelerate", "--method", method.name(), "--help");
    return text(commands.getSubcommands().get("accelerate"));
  }

  /** A beginner's page of accelerate is one screen; between them the pages have every option. */
  @Test
  void theHelpOfTrainingLeavesNoOptionOut() {
    for (String name : List.of("accelerate", "pretrain")) {
      CommandLine command = Main.commandLine().getSubcommands().get(name);
      StringBuilder pages = new StringBuilder(text(command));
      if (name.equals("accelerate")) {
        assertThat(pages.toString().lines().count()).isLessThanOrEqualTo(50);
        Methods.ALL.forEach(method -> pages.append(text(method)));
      }
      assertThat(command.getCommandSpec().optionsMap().keySet())
          .allMatch(option -> Pattern.compile(option + "\\b").matcher(pages).find());
    }
  }

  private static void update(Map<String, String> expected) throws IOException {
    Files.createDirectories(FOLDER);
    try (Stream<Path> files = Files.list(FOLDER)) {
      for (Path file : files.toList()) {
        Files.delete(file);
      }
    }
    for (Map.Entry<String, String> help : expected.entrySet()) {
      Files.writeString(FOLDER.resolve(help.getKey()), help.getValue());
    }
  }
}
