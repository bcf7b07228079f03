package org.perflow.cli;

import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.perflow.cli.terminal.StopOnInterrupt;
import org.perflow.compare.Compared;
import org.perflow.compare.Comparison;
import org.perflow.tensor.Device;
import org.perflow.train.ProgressListener;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code perflow compare}. */
@Command(
    name = "compare",
    description =
        "Trains several methods on one teacher with one budget, and measures them and the teacher's"
            + " samplers from the same noise. Where the plan says transfer, what each student learned"
            + " is then added to another fine-tune of the teacher, and measured there. What is trained"
            + " already is not trained again, and a run that was cut off goes on. OUT gets a folder an"
            + " entry, report.html, its tables as report.md, plots, grid.png and measurements.json;"
            + " OUT/transfer gets its own grid.png and measurements.json.",
    footer = {
      "",
      "Examples:",
      "  perflow compare docs/compare/emoji-64.yaml --out runs/compare",
      "  perflow compare docs/compare/emoji-64.yaml --out runs/compare --only ddim,perflow"
    })
final class CompareCommand extends Verb {
  @Parameters(paramLabel = "YAML", description = "The plan: teacher, data, budget, entries.")
  Path file;

  @Option(
      names = "--only",
      split = ",",
      paramLabel = "NAME",
      description = "Entries to take part, by the names of their folders (default: all).")
  @Nullable List<String> only;

  @Option(names = "--out", required = true, paramLabel = "DIR", description = "Folder to write to.")
  Path out;

  @Option(
      names = "--device",
      paramLabel = "NAME",
      description =
          "Where to train and draw: cpu, cuda, cuda:1 (the second GPU), mps, or auto (default: the"
              + " plan's, auto).")
  @Nullable String device;

  @Override
  void run() throws Exception {
    Comparison comparison = Comparison.of(file).out(out);
    if (only != null) {
      comparison = comparison.only(only);
    }
    if (device != null) {
      comparison = comparison.device(Device.parse(device).settled());
    }
    try (ProgressListener bar = new ProgressListener();
        StopOnInterrupt stop = new StopOnInterrupt()) {
      Compared compared = comparison.run(line -> err().println(line), bar, stop);
      report(compared.json(), compared.table() + "%n%s".formatted(out.resolve("report.html")));
    }
  }
}
