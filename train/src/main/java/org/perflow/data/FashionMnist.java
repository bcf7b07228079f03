package org.perflow.data;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.function.IntConsumer;
import javax.imageio.ImageIO;
import javax.imageio.stream.MemoryCacheImageOutputStream;
import org.jspecify.annotations.Nullable;
import org.perflow.io.AtomicFiles;
import org.perflow.io.FormatException;
import org.perflow.io.Json;
import org.perflow.io.Sample;
import org.perflow.io.ShardWriter;

/**
 * Fashion-MNIST (Xiao et al. 2017, arXiv 1708.07747) as captioned pictures in WebDataset shards:
 * {@code train-0000.tar}, ... and {@code test.tar}, the set's own splits in its own order, with an
 * {@code ATTRIBUTION.md} beside them.
 *
 * <p>The pictures get a border of 2 black pixels, black as their ground is: 28 can be halved only
 * twice, 32 as often as autoencoder and U-Net want. They are RGB, as every model here draws.
 *
 * <pre>{@code
 * Path published = Path.of("fashion-mnist"); // train-images-idx3-ubyte.gz and the three others
 * FashionMnist.build(Path.of("data/fashion-mnist"), published, 10_000, written -> {});
 * }</pre>
 */
public final class FashionMnist {
  private static final DebianPackage PACKAGE = new DebianPackage("dataset-fashion-mnist");
  private static final String INSTALLED = "usr/share/datasets/fashion-mnist";
  private static final String OTHERWISE =
      "fetch the four files of github.com/zalandoresearch/fashion-mnist elsewhere and name the"
          + " folder that they are in";

  private static final int SIDE = 28;
  private static final int BORDER = 2;
  private static final int SHARD_SIZE = 10_000;

  /**
   * By label. Training knows each in four wordings: "picture of a sneaker, shoe", "sneaker",
   * "picture of a sneaker", "sneaker, shoe".
   */
  private static final List<String> CAPTIONS =
      List.of(
          "picture of a t-shirt, top",
          "picture of trousers, pants",
          "picture of a pullover, sweater",
          "picture of a dress, gown",
          "picture of a coat, jacket",
          "picture of a sandal, shoe",
          "picture of a shirt, blouse",
          "picture of a sneaker, shoe",
          "picture of a bag, handbag",
          "picture of an ankle boot, shoe");

  /** What was written. */
  public record Summary(int train, int test, List<String> shards) {}

  private record Split(IdxFile pictures, IdxFile labels) {}

  private FashionMnist() {}

  /**
   * Writes the shards to {@code out}.
   *
   * @param from folder with the four files as published; null to fetch them
   * @param count pictures of each split, the first ones
   * @param progress is told the number of pictures written so far
   */
  public static Summary build(Path out, @Nullable Path from, int count, IntConsumer progress)
      throws IOException {
    if (from != null) {
      return build(out, from, from.toString(), count, progress);
    }
    Path fetched = Files.createTempDirectory("fashion-mnist");
    try {
      DebianPackage.Content content = PACKAGE.fetch(fetched, OTHERWISE);
      String source = "Debian package " + PACKAGE.name() + " " + content.version();
      return build(out, content.folder().resolve(INSTALLED), source, count, progress);
    } finally {
      AtomicFiles.deleteDirectory(fetched);
    }
  }

  private static Summary build(Path out, Path from, String source, int count, IntConsumer progress)
      throws IOException {
    Split train = read(from, "train");
    Split test = read(from, "t10k");
    Files.createDirectories(out);
    int ofTrain = Math.min(count, train.labels.count());
    int ofTest = Math.min(count, test.labels.count());
    List<String> shards = new ArrayList<>();
    for (int first = 0; first < ofTrain; first += SHARD_SIZE) {
      String shard = "train-%04d.tar".formatted(first / SHARD_SIZE);
      int end = Math.min(first + SHARD_SIZE, ofTrain);
      write(out.resolve(shard), "train", train, first, end, progress);
      shards.add(shard);
    }
    write(
        out.resolve("test.tar"), "test", test, 0, ofTest, done -> progress.accept(ofTrain + done));
    shards.add("test.tar");
    AtomicFiles.write(
        out.resolve("ATTRIBUTION.md"),
        stream ->
            stream.write(
                ATTRIBUTION.formatted(source, ofTrain, ofTest).getBytes(StandardCharsets.UTF_8)));
    return new Summary(ofTrain, ofTest, shards);
  }

  private static Split read(Path from, String name) throws IOException {
    Path labelled = from.resolve(name + "-labels-idx1-ubyte.gz");
    IdxFile pictures = IdxFile.read(from.resolve(name + "-images-idx3-ubyte.gz"), SIDE, SIDE);
    IdxFile labels = IdxFile.read(labelled);
    if (pictures.count() != labels.count()) {
      throw new FormatException(
          "%s holds %,d labels, but there are %,d pictures"
              .formatted(labelled, labels.count(), pictures.count()));
    }
    for (byte label : labels.bytes()) {
      if (label < 0 || label >= CAPTIONS.size()) {
        throw new FormatException(
            "%s: label %d, expected 0 to %d"
                .formatted(labelled, label & 0xff, CAPTIONS.size() - 1));
      }
    }
    return new Split(pictures, labels);
  }

  private static void write(
      Path shard, String prefix, Split split, int first, int end, IntConsumer progress)
      throws IOException {
    try (ShardWriter writer = new ShardWriter(shard)) {
      for (int i = first; i < end; i++) {
        int label = split.labels.bytes()[i];
        ObjectNode about = Json.MAPPER.createObjectNode();
        about.put("class", label).put("licence", "MIT").put("source", "Fashion-MNIST");
        String key = "%s-%05d".formatted(prefix, i);
        writer.write(
            new Sample("", key, png(split.pictures.bytes(), i), CAPTIONS.get(label), about));
        progress.accept(i + 1);
      }
      writer.finish();
    }
  }

  private static byte[] png(byte[] grey, int picture) throws IOException {
    int side = SIDE + 2 * BORDER;
    BufferedImage image = new BufferedImage(side, side, BufferedImage.TYPE_INT_RGB);
    for (int y = 0; y < SIDE; y++) {
      for (int x = 0; x < SIDE; x++) {
        int value = grey[(picture * SIDE + y) * SIDE + x] & 0xff;
        image.setRGB(x + BORDER, y + BORDER, value * 0x010101);
      }
    }
    ByteArrayOutputStream png = new ByteArrayOutputStream();
    try (var stream = new MemoryCacheImageOutputStream(png)) { // not a file for each picture
      ImageIO.write(image, "png", stream);
    }
    return png.toByteArray();
  }

  private static final String ATTRIBUTION =
      """
      # Where these pictures come from

      Fashion-MNIST (Han Xiao, Kashif Rasul, Roland Vollgraf, arXiv 1708.07747,
      https://github.com/zalandoresearch/fashion-mnist), from: %s. The first %,d pictures of its
      training set and the first %,d of its test set, with a black border of 2 pixels; the captions
      name its ten classes.

      The MIT License (MIT)

      Copyright (c) 2017 Zalando SE, https://tech.zalando.com

      Permission is hereby granted, free of charge, to any person obtaining a copy of this software
      and associated documentation files (the "Software"), to deal in the Software without
      restriction, including without limitation the rights to use, copy, modify, merge, publish,
      distribute, sublicense, and/or sell copies of the Software, and to permit persons to whom the
      Software is furnished to do so, subject to the following conditions:

      The above copyright notice and this permission notice shall be included in all copies or
      substantial portions of the Software.

      THE SOFTWARE IS PROVIDED "AS IS", WITHOUT WARRANTY OF ANY KIND, EXPRESS OR IMPLIED, INCLUDING
      BUT NOT LIMITED TO THE WARRANTIES OF MERCHANTABILITY, FITNESS FOR A PARTICULAR PURPOSE AND
      NONINFRINGEMENT. IN NO EVENT SHALL THE AUTHORS OR COPYRIGHT HOLDERS BE LIABLE FOR ANY CLAIM,
      DAMAGES OR OTHER LIABILITY, WHETHER IN AN ACTION OF CONTRACT, TORT OR OTHERWISE, ARISING FROM,
      OUT OF OR IN CONNECTION WITH THE SOFTWARE OR THE USE OR OTHER DEALINGS IN THE SOFTWARE.
      """;
}
