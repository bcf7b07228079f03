package org.perflow.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.perflow.cli.options.OptionsFromRecords;
import org.perflow.cli.options.RecordOptions;
import org.perflow.cli.terminal.TerminalWriter;
import org.perflow.importing.DataImport;
import org.perflow.importing.ImportOptions;
import org.perflow.importing.Imported;
import org.perflow.importing.LeftOut;
import org.perflow.io.Overrides;
import org.perflow.models.CLIPTokenizer;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code perflow data import}. */
@Command(
    name = "import",
    description = {
      "Makes training data of your own pictures: folders of JPEG, PNG, WebP, GIF, BMP and TIFF files,"
          + " with all folders in them, become WebDataset shards, with a report (report.html,"
          + " report.md) beside them. Captions are NAME.txt or NAME.caption beside NAME.jpg, or stand"
          + " in metadata.jsonl, metadata.csv or captions.json. Pictures are turned upright, brought"
          + " to sRGB, scaled and cut. What cannot be taken is left out, and told by name and reason.",
      "The same command goes on with an import that was cut off."
    },
    footer = {
      "",
      "Examples:",
      "  perflow data import my-photos --out data/mine",
      "  perflow data import my-photos --out data/mine --size 1024 --captions filename",
      "  perflow data import my-photos=3 drawings --out data/both --caption \"a photo of sks dog\"",
      "  perflow data import photos.csv --out data/mine --buckets 512",
      "  perflow data import downloads/laion.tar --caption-key json.caption --out data/laion"
    })
final class DataImportCommand extends Verb implements OptionsFromRecords {
  private static final int MOST_SHOWN = 10;

  @Parameters(
      arity = "1..*",
      paramLabel = "SOURCE",
      description =
          "Folder of pictures, table of files and captions (.csv, .tsv), Parquet file or WebDataset"
              + " shard of others, or folder of such; SOURCE=N is seen N times as often as the others.")
  List<String> sources;

  @Option(names = "--out", required = true, paramLabel = "DIR", description = "Folder to write to.")
  Path out;

  @Option(
      names = "--tokenizer",
      paramLabel = "MODEL",
      description =
          "Tokenizer's folder of the model, or ORG/NAME:tokenizer of the hub, to count captions by"
              + " (default: CLIP's own).")
  @Nullable String tokenizer;

  private @Nullable RecordOptions options;

  @Override
  public void addOptions() {
    options = new RecordOptions(spec, ImportOptions.DEFAULTS);
  }

  @Override
  void run() throws Exception {
    ObjectNode changes = options.changes();
    if (changes.has("size") && changes.has("buckets")) {
      throw new IllegalArgumentException(
          "--size makes all pictures one size, --buckets several: choose one of them");
    }
    DataImport chosen =
        DataImport.of().options(Overrides.apply(ImportOptions.DEFAULTS, changes)).out(out);
    for (String source : sources) {
      chosen = with(chosen, source);
    }
    if (tokenizer != null) {
      chosen = chosen.tokenizer(CLIPTokenizer.load(fetch(tokenizer)));
    }
    Imported imported;
    try (ImportProgress progress = new ImportProgress(err())) {
      imported = chosen.run(progress);
    }
    report(imported, text(imported));
  }

  /** A path, or a path with a weight behind the last "=". */
  private static DataImport with(DataImport chosen, String source) {
    int at = source.lastIndexOf('=');
    if (at > 0 && source.substring(at + 1).matches("\\d{1,4}") && !Files.exists(Path.of(source))) {
      return chosen.and(
          Path.of(source.substring(0, at)), Integer.parseInt(source.substring(at + 1)));
    }
    return chosen.and(Path.of(source), 1);
  }

  private String text(Imported imported) {
    List<String> lines = new ArrayList<>();
    lines.add(
        "%s: %,d pictures to train with, %,d held out, sizes %s"
            .formatted(out, imported.train(), imported.heldOut(), imported.sizes()));
    Imported.CaptionLengths captions = imported.captions();
    lines.add(
        "captions of up to %d tokens (half of them up to %d); %,d are longer than the %d that are read"
            .formatted(captions.longest(), captions.median(), captions.over(), captions.limit()));
    if (!imported.duplicates().isEmpty() || !imported.nearDuplicates().isEmpty()) {
      lines.add(
          "%,d groups of equal files, %,d of pictures that look the same"
              .formatted(imported.duplicates().size(), imported.nearDuplicates().size()));
    }
    if (!imported.leftOut().isEmpty()) {
      lines.add("left out: %,d %s".formatted(imported.leftOut().size(), imported.reasons()));
      for (LeftOut leftOut :
          imported.leftOut().subList(0, Math.min(MOST_SHOWN, imported.leftOut().size()))) {
        lines.add("  " + TerminalWriter.line(leftOut.toString()));
      }
    }
    lines.add("report: " + out.resolve("report.html"));
    return String.join(System.lineSeparator(), lines);
  }
}
