package org.perflow.importing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.awt.Color;
import java.awt.image.BufferedImage;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.perflow.importing.Buckets.Size;
import org.perflow.importing.ImportOptions.Crop;
import org.perflow.io.Images;

class FramingTest {
  private static final Size SQUARE = new Size(512, 512);

  private static Framing of(int width, int height, Crop crop, double where) {
    return Framing.of(new Size(width, height), SQUARE, crop, false, where).orElseThrow();
  }

  @Test
  void cutsWhereItIsTold() {
    Size scaled = new Size(768, 512);
    assertThat(of(1536, 1024, Crop.CENTER, 0)).isEqualTo(new Framing(scaled, 128, 0, SQUARE));
    assertThat(of(1536, 1024, Crop.RANDOM, 0.9999)).isEqualTo(new Framing(scaled, 256, 0, SQUARE));
    assertThat(of(1536, 1024, Crop.RANDOM, 0)).isEqualTo(new Framing(scaled, 0, 0, SQUARE));
    assertThat(of(1024, 1536, Crop.TOP, 0))
        .isEqualTo(new Framing(new Size(512, 768), 0, 0, SQUARE));
  }

  @Test
  void leavesAPictureOfTheRightSizeAlone() {
    BufferedImage picture = PhotoFolder.picture(512, 512, 1);
    Framing framing = of(512, 512, Crop.CENTER, 0);
    assertThat(framing.cuts()).isFalse();
    assertThat(framing.cut(picture, Color.WHITE)).isSameAs(picture);
  }

  @Test
  void enlargesNothingUnlessAsked() {
    Size small = new Size(511, 2000);
    assertThat(Framing.of(small, SQUARE, Crop.CENTER, false, 0)).isEmpty();
    assertThat(Framing.of(small, SQUARE, Crop.CENTER, true, 0).orElseThrow().scaled().width())
        .isEqualTo(512);
  }

  @Test
  void padsWithoutEnlarging() {
    assertThat(of(1024, 512, Crop.PAD, 0))
        .isEqualTo(new Framing(new Size(512, 256), 0, -128, SQUARE));
    Framing small = of(100, 50, Crop.PAD, 0);
    assertThat(small).isEqualTo(new Framing(new Size(100, 50), -206, -231, SQUARE));
    BufferedImage padded = small.cut(PhotoFolder.halves(100, 50, Color.RED, Color.RED), Color.BLUE);
    assertThat(padded.getRGB(205, 250) & 0xFFFFFF).isEqualTo(0x0000FF);
    assertThat(padded.getRGB(206, 250) & 0xFFFFFF).isEqualTo(0xFF0000);
  }

  /** All are among the paper's (appendix I), of which trainers leave out four. */
  @Test
  void bucketsAreThoseOfSdxl() {
    assertThat(Buckets.of(1024, 64).sizes().stream().filter(s -> s.width() <= s.height()))
        .map(Size::toString)
        .containsExactly(
            "512x1856",
            "512x1920",
            "512x1984",
            "512x2048",
            "576x1664",
            "576x1728",
            "576x1792",
            "640x1536",
            "640x1600",
            "704x1408",
            "704x1472",
            "768x1280",
            "768x1344",
            "832x1216",
            "896x1152",
            "960x1088",
            "1024x1024");
    for (Size size : Buckets.of(512, 64).sizes()) {
      assertThat(size.width() * size.height()).isLessThanOrEqualTo(512 * 512);
      assertThat(size.width() % 64 + size.height() % 64).isZero();
    }
  }

  @Test
  void bucketsAreChosenByShape() {
    Buckets buckets = Buckets.of(1024, 64);
    assertThat(buckets.nearest(3000, 2000)).isEqualTo(new Size(1216, 832));
    assertThat(buckets.nearest(2000, 3000)).isEqualTo(new Size(832, 1216));
    assertThat(buckets.nearest(100, 9000)).isEqualTo(new Size(512, 2048));
    for (Size size : buckets.sizes()) {
      assertThat(buckets.nearest(size.width(), size.height())).isEqualTo(size);
    }
    assertThatThrownBy(() -> Buckets.of(64, 64))
        .hasMessageContaining("multiple of twice the bucketStep (128)");
  }

  @Test
  void hashesTellPicturesApartAndCopiesTogether() {
    List<Long> hashes =
        IntStream.range(0, 40)
            .mapToObj(seed -> PerceptualHash.of(PhotoFolder.picture(200, 150, seed)))
            .toList();
    for (int i = 0; i < hashes.size(); i++) {
      BufferedImage copy = Images.resize(PhotoFolder.picture(200, 150, i), 90, 68);
      assertThat(Long.bitCount(hashes.get(i) ^ PerceptualHash.of(copy)))
          .isLessThanOrEqualTo(PerceptualHash.NEAR);
      for (int k = 0; k < i; k++) {
        assertThat(Long.bitCount(hashes.get(i) ^ hashes.get(k))).isGreaterThan(PerceptualHash.NEAR);
      }
    }
  }
}
