package org.perflow.io.picture;

import static org.assertj.core.api.Assertions.assertThat;

import java.awt.Color;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.perflow.io.SafetensorsFile;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/** Pictures of every kind against their pixels in Pillow; tools/golden_pictures.py makes both. */
class PillowTest {
  private static final Path FOLDER = Path.of("src/test/resources/pictures/pillow");
  private static final String ON_BLACK = " on black";

  private static SafetensorsFile pixels() throws IOException {
    return SafetensorsFile.open(FOLDER.resolve("pixels.safetensors"));
  }

  static Stream<String> names() throws IOException {
    try (SafetensorsFile file = pixels()) {
      return List.copyOf(file.entries().keySet()).stream();
    }
  }

  @ParameterizedTest
  @MethodSource("names")
  void readsAsPillow(String name) throws IOException {
    boolean onBlack = name.endsWith(ON_BLACK);
    Path file = FOLDER.resolve(name.replace(ON_BLACK, ""));
    BufferedImage image =
        PictureDecoder.decode(Files.readAllBytes(file), onBlack ? Color.BLACK : Color.WHITE);
    try (Scope scope = Scope.open();
        SafetensorsFile pixels = pixels()) {
      Tensor expected = pixels.read(name); // uint8 [H, W, 3]
      assertThat(new long[] {image.getHeight(), image.getWidth(), 3}).isEqualTo(expected.shape());
      byte[] bytes = expected.toByteArray();
      int worst = 0;
      for (int i = 0; i < bytes.length; i++) {
        int pixel = i / 3;
        int rgb = image.getRGB(pixel % image.getWidth(), pixel / image.getWidth());
        int got = rgb >> 16 - 8 * (i % 3) & 0xFF;
        worst = Math.max(worst, Math.abs(got - (bytes[i] & 0xFF)));
      }
      // profiles, CMYK and values of 5 bits are rounded elsewhere
      boolean exact = !name.matches("(profile|cmyk|ycck|5|premultiplied|p.tif).*");
      assertThat(worst).isLessThanOrEqualTo(exact ? 0 : 1);
    }
  }
}
