package org.perflow.train;

import java.awt.Dimension;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.perflow.io.Images;
import org.perflow.io.Sample;
import org.perflow.io.ShardReader;

/**
 * What shards hold, without the pictures, which need not fit into memory: these are streamed where
 * they are needed. Immutable.
 *
 * @param shards in order
 * @param samples of all shards, in their order, without a byte of picture
 * @param sizes of their pictures
 */
public record Catalogue(List<Path> shards, List<Sample> samples, List<Dimension> sizes) {
  private static final byte[] NONE = new byte[0];

  public Catalogue {
    shards = List.copyOf(shards);
    samples = List.copyOf(samples);
    sizes = List.copyOf(sizes);
  }

  /** Something to do with each sample in turn. */
  interface Use {
    void of(Sample sample, int number) throws IOException;
  }

  /** Reads through them. */
  public static Catalogue of(List<Path> shards) throws IOException {
    List<Sample> samples = new ArrayList<>();
    List<Dimension> sizes = new ArrayList<>();
    each(
        shards,
        (sample, number) -> {
          sizes.add(Images.size(sample.picture(), sample.shard() + ": " + sample.key()));
          samples.add(
              new Sample(sample.shard(), sample.key(), NONE, sample.caption(), sample.json()));
        });
    return new Catalogue(shards, samples, sizes);
  }

  /** Streams the samples with their pictures. */
  void each(Use use) throws IOException {
    each(shards, use);
  }

  private static void each(List<Path> shards, Use use) throws IOException {
    int number = 0;
    for (Path shard : shards) {
      try (ShardReader reader = new ShardReader(shard)) {
        for (var next = reader.next(); next.isPresent(); next = reader.next()) {
          use.of(next.get(), number++);
        }
      }
    }
  }
}
