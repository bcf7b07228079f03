package org.perflow.cli;

import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Spec;

/** {@code perflow data}: the verbs that make and look at training data. */
@Command(
    name = "data",
    mixinStandardHelpOptions = true,
    usageHelpWidth = 100,
    description = "Builds and inspects captioned pictures in WebDataset shards.",
    commandListHeading = "%nCommands:%n",
    subcommands = {
      DataImportCommand.class,
      DataEmojiCommand.class,
      DataFashionMnistCommand.class,
      DataInspectCommand.class
    },
    footer = {
      "",
      "Examples:",
      "  perflow data import my-photos --out data/mine",
      "  perflow data emoji --out data/emoji-64",
      "  perflow data fashion-mnist --out runs/fashion-mnist/data",
      "  perflow data inspect data/emoji-64/test.tar"
    })
final class DataCommand implements Runnable {
  @Spec private CommandSpec spec;

  @Override
  public void run() {
    spec.commandLine().usage(spec.commandLine().getOut());
  }
}
