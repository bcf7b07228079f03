package org.perflow.cli;

import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.perflow.data.EmojiDataset;
import org.perflow.data.EmojiStyle;
import org.perflow.io.Installation;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code perflow data emoji}. */
@Command(
    name = "emoji",
    description = {
      "Builds captioned emoji: openly licensed icon packages (fetched with npm), drawn on white, as"
          + " WebDataset shards train-*.tar and test.tar. One concept in twelve, the same in every"
          + " style and told in words that others have too, is held out in test.tar. ATTRIBUTION.md"
          + " says what must be said about the licences."
    },
    footer = {
      "",
      "Examples:",
      "  perflow data emoji --out data/emoji-64",
      "  perflow data emoji --out data/emoji-128 --size 128 --styles fluent-flat,twemoji,noto"
    })
final class DataEmojiCommand extends Verb {
  @Option(names = "--out", required = true, paramLabel = "DIR", description = "Folder to write to.")
  Path out;

  @Option(
      names = "--styles",
      split = ",",
      defaultValue = "fluent-flat",
      paramLabel = "STYLE",
      description =
          "Drawing styles: fluent-flat, twemoji, noto, openmoji (default: ${DEFAULT-VALUE}).")
  List<String> styles;

  @Option(
      names = "--size",
      defaultValue = "64",
      paramLabel = "PIXELS",
      description = "Width and height of the pictures (default: ${DEFAULT-VALUE}).")
  int size;

  @Option(
      names = "--packages",
      paramLabel = "DIR",
      description =
          "Folder with the npm packages, packed or unpacked; what is missing is fetched there"
              + " (default: ~/.cache/perflow).")
  @Nullable Path packages;

  @Override
  void run() throws Exception {
    if (size < 8 || size > 1024) {
      throw new IllegalArgumentException("--size is %d, expected 8 to 1024".formatted(size));
    }
    List<EmojiStyle> chosen = styles.stream().map(EmojiStyle::of).distinct().toList();
    EmojiDataset.Summary summary =
        EmojiDataset.build(
            out,
            packages == null ? Installation.cache() : packages,
            chosen,
            size,
            drawn -> {
              if (drawn % 200 == 0) {
                err().printf("%,d pictures drawn%n", drawn);
              }
            });
    report(
        summary,
        "%,d pictures to train with, %,d held out: %s in %s"
            .formatted(summary.train(), summary.test(), String.join(", ", summary.shards()), out));
  }
}
