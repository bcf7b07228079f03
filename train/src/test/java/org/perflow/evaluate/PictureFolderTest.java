package org.perflow.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.evaluate.PictureFolder.Size;
import org.perflow.io.Images;
import org.perflow.tensor.Tensor;

class PictureFolderTest {
  /** Red of the top left pixel, and how often it was asked. */
  private static final class Corner implements Features {
    int asked;

    @Override
    public String name() {
      return "corner";
    }

    @Override
    public int side() {
      return 8;
    }

    @Override
    public Tensor features(Tensor pictures) {
      asked++;
      return pictures.narrow(1, 0, 1).narrow(2, 0, 1).narrow(3, 0, 1).reshape(-1, 1);
    }

    @Override
    public String fingerprint() {
      return "corner";
    }

    @Override
    public void close() {}
  }

  @Test
  void seesEveryPictureInTheOrderOfNamesAndOnlyOnce(@TempDir Path folder) throws IOException {
    Path pictures = Files.createDirectory(folder.resolve("pictures"));
    for (int i = 0; i < 40; i++) {
      write(pictures.resolve("%02d.png".formatted(39 - i)), 8, 8, i);
    }
    Files.writeString(pictures.resolve("notes.txt"), "passed over");
    Optional<TensorCache> cache = Optional.of(new TensorCache(folder.resolve("cache")));
    Corner corner = new Corner();
    for (int run = 0; run < 2; run++) {
      try (PictureFolder.Seen seen =
          PictureFolder.of(pictures).features(corner, Optional.empty(), cache)) {
        float[] reds = seen.features().toFloatArray();
        assertThat(reds).hasSize(40);
        assertThat(reds[0]).isEqualTo(39 / 255f * 2 - 1);
        assertThat(reds[39]).isEqualTo(-1);
        assertThat(seen.size().width()).isEqualTo(8);
      }
    }
    assertThat(corner.asked).isEqualTo(2); // two batches, once
    write(pictures.resolve("00.png"), 8, 8, 99);
    PictureFolder.of(pictures).features(corner, Optional.empty(), cache).close();
    assertThat(corner.asked).isEqualTo(4); // another picture, though its name is the same
  }

  @Test
  void picturesOfAnotherSizeAreRefusedByName(@TempDir Path folder) throws IOException {
    write(folder.resolve("a.png"), 8, 8, 0);
    PictureFolder one = PictureFolder.of(folder);
    assertThatThrownBy(
            () ->
                one.features(
                    new Corner(), Optional.of(new Size(16, 16, "ref/x.png")), Optional.empty()))
        .hasMessageContaining("a.png has 8 × 8 pixels, expected 16 × 16 as ref/x.png");
    write(folder.resolve("b.png"), 8, 12, 0);
    PictureFolder two = PictureFolder.of(folder);
    assertThatThrownBy(() -> two.features(new Corner(), Optional.empty(), Optional.empty()))
        .hasMessageContaining("b.png has 8 × 12 pixels, expected 8 × 8 as")
        .hasMessageContaining("a.png");
  }

  @Test
  void aFolderWithoutPicturesIsRefused(@TempDir Path folder) {
    assertThatThrownBy(() -> PictureFolder.of(folder)).hasMessageContaining("no picture in there");
    assertThatThrownBy(() -> PictureFolder.of(folder.resolve("x")))
        .hasMessageContaining("no such folder");
  }

  private static void write(Path file, int width, int height, int red) throws IOException {
    BufferedImage picture = new BufferedImage(width, height, BufferedImage.TYPE_INT_RGB);
    for (int i = 0; i < width * height; i++) {
      picture.setRGB(i % width, i / width, red << 16);
    }
    Images.writePng(file, picture, Map.of());
  }
}
