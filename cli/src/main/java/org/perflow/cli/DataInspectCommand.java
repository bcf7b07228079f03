package org.perflow.cli;

import java.awt.image.BufferedImage;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.jspecify.annotations.Nullable;
import org.perflow.cli.terminal.TerminalWriter;
import org.perflow.io.Images;
import org.perflow.io.Sample;
import org.perflow.io.ShardReader;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code perflow data inspect}. */
@Command(
    name = "inspect",
    description =
        "Reads shards to the end (so a damaged one is found), says what is in them and draws a contact"
            + " sheet.",
    footer = {
      "",
      "Examples:",
      "  perflow data inspect data/emoji-64/*.tar",
      "  perflow data inspect data/emoji-64/test.tar --captions 10 --sheet sheet.png"
    })
final class DataInspectCommand extends Verb {
  private static final int SHEET_COLUMNS = 20;

  @Parameters(arity = "1..*", paramLabel = "TAR", description = "The shards to read.")
  List<Path> shards;

  @Option(
      names = "--captions",
      defaultValue = "3",
      paramLabel = "N",
      description = "Captions to show from each shard (default: ${DEFAULT-VALUE}).")
  int captions;

  @Option(
      names = "--sheet",
      paramLabel = "PNG",
      description = "Write a contact sheet of all pictures there.")
  @Nullable Path sheet;

  /** What one shard holds; the maps count pictures, others are files that belong to none. */
  record Contents(
      String shard,
      int pictures,
      List<String> others,
      Map<String, Integer> sizes,
      Map<String, Integer> styles,
      Map<String, Integer> licences,
      List<String> captions) {

    String text() {
      StringBuilder text = new StringBuilder();
      text.append("%s: %,d pictures, sizes %s".formatted(shard, pictures, sizes));
      if (!styles.isEmpty()) {
        text.append(", styles ").append(styles);
      }
      if (!licences.isEmpty()) {
        text.append(", licences ").append(licences);
      }
      if (!others.isEmpty()) {
        text.append(
            ", passed over %s%s"
                .formatted(
                    others.get(0),
                    others.size() > 1 ? " and %d more".formatted(others.size() - 1) : ""));
      }
      captions.forEach(
          caption -> text.append("%n  ".formatted()).append(TerminalWriter.line(caption)));
      return text.toString();
    }
  }

  @Override
  void run() throws Exception {
    List<BufferedImage> pictures = new ArrayList<>();
    List<Contents> all = new ArrayList<>();
    for (Path shard : shards) {
      all.add(read(shard, pictures));
    }
    if (sheet != null && pictures.isEmpty()) {
      err().println("no pictures in " + shards + ": " + sheet + " is not written");
    } else if (sheet != null) {
      Images.writePng(sheet, Images.grid(pictures, SHEET_COLUMNS), Map.of());
    }
    report(all, String.join(System.lineSeparator(), all.stream().map(Contents::text).toList()));
  }

  private Contents read(Path shard, List<BufferedImage> pictures) throws Exception {
    Contents contents =
        new Contents(
            shard.toString(),
            0,
            new ArrayList<>(),
            new TreeMap<>(),
            new TreeMap<>(),
            new TreeMap<>(),
            new ArrayList<>());
    int count = 0;
    try (ShardReader reader = new ShardReader(shard)) {
      for (Optional<Sample> next = reader.next(); next.isPresent(); next = reader.next()) {
        Sample sample = next.get();
        BufferedImage picture = Images.decode(sample.picture(), shard + ": " + sample.key());
        count(contents.sizes, picture.getWidth() + "x" + picture.getHeight());
        count(contents.styles, sample.json().path("style").asText());
        count(contents.licences, sample.json().path("licence").asText());
        if (count++ < captions) {
          contents.captions.add(sample.caption());
        }
        if (sheet != null) {
          pictures.add(picture);
        }
      }
      contents.others.addAll(reader.others());
    }
    return new Contents(
        contents.shard,
        count,
        contents.others,
        contents.sizes,
        contents.styles,
        contents.licences,
        contents.captions);
  }

  private static void count(Map<String, Integer> counts, String value) {
    if (!value.isEmpty()) {
      counts.merge(value, 1, Integer::sum);
    }
  }
}
