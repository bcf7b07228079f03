package org.perflow.cli;

import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import org.perflow.data.FashionMnist;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code perflow data fashion-mnist}. */
@Command(
    name = "fashion-mnist",
    description = {
      "Builds Fashion-MNIST with captions, such as \"picture of a sneaker, shoe\", as WebDataset shards"
          + " train-*.tar and test.tar: 60,000 and 10,000 grey pictures of clothes in ten classes, with a"
          + " border to 32x32. ATTRIBUTION.md says what must be said about the licence."
    },
    footer = {
      "",
      "Examples:",
      "  perflow data fashion-mnist --out runs/fashion-mnist/data",
      "  perflow data fashion-mnist --from downloads --count 2000 --out runs/small"
    })
final class DataFashionMnistCommand extends Verb {
  @Option(names = "--out", required = true, paramLabel = "DIR", description = "Folder to write to.")
  Path out;

  @Option(
      names = "--from",
      paramLabel = "DIR",
      description =
          "Folder with the four files as published, train-images-idx3-ubyte.gz, ... (default: the"
              + " Debian package dataset-fashion-mnist, fetched with apt-get).")
  @Nullable Path from;

  @Option(
      names = "--count",
      paramLabel = "N",
      description = "Only the first N pictures of each split (default: all).")
  @Nullable Integer count;

  @Override
  void run() throws Exception {
    if (count != null && count < 1) {
      throw new IllegalArgumentException("--count is %d, expected 1 or more".formatted(count));
    }
    FashionMnist.Summary summary =
        FashionMnist.build(
            out,
            from,
            count == null ? Integer.MAX_VALUE : count,
            written -> {
              if (written % 10_000 == 0) {
                err().printf("%,d pictures written%n", written);
              }
            });
    report(
        summary,
        "%,d pictures to train with, %,d to test: %s in %s"
            .formatted(summary.train(), summary.test(), String.join(", ", summary.shards()), out));
  }
}
