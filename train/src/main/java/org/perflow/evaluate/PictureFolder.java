package org.perflow.evaluate;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.perflow.io.Fingerprint;
import org.perflow.io.FormatException;
import org.perflow.io.Images;
import org.perflow.io.Sample;
import org.perflow.io.ShardReader;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Pictures in a folder, from wherever: PNG, JPEG or WebP files, and those in shards ({@code .tar}),
 * in the order of their names. Read one batch at a time, so that the folder may be larger than
 * memory. All must be of one size: FD across sizes would compare the resizing.
 *
 * @param folder that was named
 * @param files its pictures and shards
 */
public record PictureFolder(Path folder, List<Path> files) {
  private static final Set<String> PICTURES = Set.of("png", "jpg", "jpeg", "webp");
  private static final int BATCH = 32;

  /** Width and height in pixels, and which picture has them. */
  public record Size(int width, int height, String of) {}

  /** Features [N, D] on no scope, and the size of the pictures; the caller closes it. */
  public record Seen(Tensor features, Size size) implements AutoCloseable {
    @Override
    public void close() {
      features.close();
    }
  }

  /**
   * What is in {@code folder}, itself and not its subfolders; other files are passed over.
   *
   * @throws FormatException where there is no picture
   */
  public static PictureFolder of(Path folder) throws IOException {
    if (!Files.isDirectory(folder)) {
      throw new NoSuchFileException(folder.toString(), null, "there is no such folder of pictures");
    }
    try (Stream<Path> all = Files.list(folder)) {
      List<Path> files =
          all.filter(Files::isRegularFile)
              .filter(file -> !file.getFileName().toString().startsWith(".")) // macOS' "._x.png"
              .filter(file -> PICTURES.contains(ending(file)) || ending(file).equals("tar"))
              .sorted()
              .toList();
      if (files.isEmpty()) {
        throw new FormatException(
            folder + ": no picture in there; expected .png, .jpg or .webp files, or shards (.tar)");
      }
      return new PictureFolder(folder, files);
    }
  }

  /**
   * Features of every picture, resized as {@link BicubicResize} does where the network takes
   * another size; from {@code cache} where the same files have been seen by it before.
   *
   * @param same the size they must have; empty for that of the first
   * @throws FormatException naming a damaged picture
   * @throws IllegalArgumentException naming the first picture of another size
   */
  public Seen features(Features features, Optional<Size> same, Optional<TensorCache> cache)
      throws IOException {
    String key = cache.isEmpty() ? "" : key(features);
    try (Scope scope = Scope.open()) {
      var kept = cache.flatMap(folder -> folder.read("pictures", key));
      if (kept.isPresent()) {
        Map<String, String> text = kept.get().text();
        Size size =
            new Size(
                Integer.parseInt(text.get("width")),
                Integer.parseInt(text.get("height")),
                files.get(0).toString());
        same.ifPresent(expected -> check(size, expected));
        return new Seen(scope.release(kept.get().tensors().get("features")), size);
      }
      Reading reading = new Reading(features, same.orElse(null));
      for (Path file : files) {
        if (ending(file).equals("tar")) {
          try (ShardReader shard = new ShardReader(file)) {
            for (var next = shard.next(); next.isPresent(); next = shard.next()) {
              Sample sample = next.get();
              reading.add(sample.picture(), file + ": " + sample.key());
            }
          }
        } else {
          reading.add(Files.readAllBytes(file), file.toString());
        }
      }
      Seen seen = reading.end();
      cache.ifPresent(folder -> folder.write("pictures", key, content(seen)));
      return new Seen(scope.release(seen.features()), seen.size());
    }
  }

  private static TensorCache.Content content(Seen seen) {
    Size size = seen.size();
    return new TensorCache.Content(
        Map.of("features", seen.features()),
        Map.of(
            "width", Integer.toString(size.width()),
            "height", Integer.toString(size.height())));
  }

  private String key(Features features) throws IOException {
    List<String> parts = new ArrayList<>(List.of(features.fingerprint()));
    for (Path file : files) {
      parts.add(file.getFileName() + " " + Fingerprint.of(file));
    }
    return Fingerprint.of(parts);
  }

  /** Collects pictures into batches. */
  private static final class Reading {
    private final Features features;
    private final List<Tensor> parts = new ArrayList<>();
    private final List<BufferedImage> batch = new ArrayList<>();
    private @Nullable Size size;

    Reading(Features features, @Nullable Size size) {
      this.features = features;
      this.size = size;
    }

    void add(byte[] bytes, String name) throws IOException {
      BufferedImage picture = Images.decode(bytes, name);
      Size own = new Size(picture.getWidth(), picture.getHeight(), name);
      Size expected = size;
      if (expected == null) {
        size = own;
      } else {
        check(own, expected);
      }
      batch.add(picture);
      if (batch.size() == BATCH) {
        see();
      }
    }

    private void see() {
      try (Scope scope = Scope.open();
          NoGrad guard = NoGrad.enter()) {
        Tensor pictures = Tensor.stack(0, batch.stream().map(Images::toTensor).toList());
        parts.add(scope.keep(features.ofAnySize(pictures).to(DType.F32)));
      }
      batch.clear();
    }

    /** In the caller's scope. */
    Seen end() {
      if (!batch.isEmpty()) {
        see();
      }
      return new Seen(Tensor.cat(0, parts), Objects.requireNonNull(size));
    }
  }

  private static void check(Size size, Size expected) {
    if (size.width() != expected.width() || size.height() != expected.height()) {
      throw new IllegalArgumentException(
          "%s has %d × %d pixels, expected %d × %d as %s: pictures that are compared have one size, resize them first"
              .formatted(
                  size.of(),
                  size.width(),
                  size.height(),
                  expected.width(),
                  expected.height(),
                  expected.of()));
    }
  }

  private static String ending(Path file) {
    String name = String.valueOf(file.getFileName());
    return name.substring(name.lastIndexOf('.') + 1).toLowerCase(Locale.ROOT);
  }
}
