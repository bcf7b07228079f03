package org.perflow.cli.options;

import java.util.List;
import java.util.function.Supplier;
import picocli.CommandLine.Help;
import picocli.CommandLine.Help.Layout;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.Model.UsageMessageSpec;

/** The options of a verb that has many: in sections, where picocli's help has one list. */
public final class HelpSections {
  /** Names of options that say what is printed and kept, by whichever verb trains. */
  public static final List<String> OUTPUT =
      List.of(
          "--save-dtype",
          "--sample-every",
          "--log-every",
          "--checkpoint-every",
          "--keep-checkpoints",
          "--json",
          "--stacktrace",
          "--version");

  private HelpSections() {}

  /** Some of the options under a heading. */
  public record Section(String heading, List<OptionSpec> options) {}

  /** Shows {@code sections}, asked for when the command line is parsed, in place of the list. */
  public static void show(CommandSpec spec, Supplier<List<Section>> sections) {
    spec.usageMessage().optionListHeading("");
    spec.usageMessage()
        .sectionMap()
        .put(UsageMessageSpec.SECTION_KEY_OPTION_LIST, help -> text(help, sections.get()));
  }

  private static String text(Help help, List<Section> sections) {
    StringBuilder text = new StringBuilder();
    for (Section section : sections) {
      Layout layout = help.createDefaultLayout();
      layout.addOptions(section.options(), help.createDefaultParamLabelRenderer());
      text.append("%n%s:%n".formatted(section.heading())).append(layout);
    }
    return text.toString();
  }

  /** The verb's options of these names, in this order; those it has not are left out. */
  public static List<OptionSpec> named(CommandSpec spec, List<String> names) {
    return names.stream().filter(spec.optionsMap()::containsKey).map(spec::findOption).toList();
  }

  /** Those of {@code options} that are neither in {@code first} nor in {@link #OUTPUT}. */
  public static List<OptionSpec> rest(List<OptionSpec> options, List<String> first) {
    return options.stream()
        .filter(option -> !first.contains(option.longestName()))
        .filter(option -> !OUTPUT.contains(option.longestName()))
        .toList();
  }
}
