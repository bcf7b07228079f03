package org.perflow.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.awt.Color;
import java.awt.Transparency;
import java.awt.color.ColorSpace;
import java.awt.image.BufferedImage;
import java.awt.image.ComponentColorModel;
import java.awt.image.DataBuffer;
import java.awt.image.IndexColorModel;
import java.awt.image.Raster;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;
import org.perflow.tensor.DType;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

class ImagesTest {
  @TempDir Path folder;

  private static byte[] png(BufferedImage image) throws IOException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    assertThat(ImageIO.write(image, "png", out)).isTrue();
    return out.toByteArray();
  }

  private static int pixel(BufferedImage image, int x, int y) {
    return image.getRGB(x, y) & 0xFFFFFF;
  }

  @Test
  void laysAlphaOnWhite() throws IOException {
    BufferedImage image = new BufferedImage(3, 1, BufferedImage.TYPE_INT_ARGB);
    image.setRGB(0, 0, 0xFF112233);
    image.setRGB(1, 0, 0x00112233);
    image.setRGB(2, 0, 0x80000000);
    BufferedImage rgb = Images.decode(png(image), "alpha");
    assertThat(pixel(rgb, 0, 0)).isEqualTo(0x112233);
    assertThat(pixel(rgb, 1, 0)).isEqualTo(0xFFFFFF);
    assertThat(pixel(rgb, 2, 0)).isEqualTo(0x7F7F7F);
  }

  @Test
  void keepsTheValuesOfGrey() throws IOException {
    BufferedImage grey = new BufferedImage(2, 1, BufferedImage.TYPE_BYTE_GRAY);
    grey.getRaster().setSample(0, 0, 0, 60);
    grey.getRaster().setSample(1, 0, 0, 200);
    BufferedImage rgb = Images.decode(png(grey), "grey");
    assertThat(pixel(rgb, 0, 0)).isEqualTo(0x3C3C3C);
    assertThat(pixel(rgb, 1, 0)).isEqualTo(0xC8C8C8);

    BufferedImage deep = new BufferedImage(1, 1, BufferedImage.TYPE_USHORT_GRAY);
    deep.getRaster().setSample(0, 0, 0, 60 * 257);
    assertThat(pixel(Images.decode(png(deep), "16 bit"), 0, 0)).isEqualTo(0x3C3C3C);
  }

  @Test
  void laysGreyWithAlphaOnWhite() throws IOException {
    var model =
        new ComponentColorModel(
            ColorSpace.getInstance(ColorSpace.CS_GRAY),
            true,
            false,
            Transparency.TRANSLUCENT,
            DataBuffer.TYPE_BYTE);
    var raster = Raster.createInterleavedRaster(DataBuffer.TYPE_BYTE, 2, 1, 2, null);
    raster.setPixel(0, 0, new int[] {60, 255});
    raster.setPixel(1, 0, new int[] {0, 51});
    BufferedImage rgb = Images.decode(png(new BufferedImage(model, raster, false, null)), "grey");
    assertThat(pixel(rgb, 0, 0)).isEqualTo(0x3C3C3C);
    assertThat(pixel(rgb, 1, 0)).isEqualTo(0xCCCCCC);
  }

  @Test
  void resolvesPalettes() throws IOException {
    byte[] red = {0, (byte) 200};
    byte[] green = {10, 100};
    byte[] blue = {20, 50};
    var palette = new IndexColorModel(1, 2, red, green, blue);
    var image = new BufferedImage(2, 1, BufferedImage.TYPE_BYTE_BINARY, palette);
    image.getRaster().setSample(1, 0, 0, 1);
    BufferedImage rgb = Images.decode(png(image), "palette");
    assertThat(pixel(rgb, 0, 0)).isEqualTo(0x000A14);
    assertThat(pixel(rgb, 1, 0)).isEqualTo(0xC86432);
    assertThat(rgb.getType()).isEqualTo(BufferedImage.TYPE_INT_RGB);
  }

  /** Files that Pillow wrote: 16 × 8, a green band of 2 above red (left) and blue (right). */
  private static BufferedImage picture(String name) throws Exception {
    return Images.read(Path.of(ImagesTest.class.getResource("/pictures/" + name).toURI()));
  }

  private static void assertNear(int got, int wanted) {
    for (int shift = 0; shift <= 16; shift += 8) {
      assertThat(got >> shift & 0xFF).isCloseTo(wanted >> shift & 0xFF, within(14));
    }
  }

  @Test
  void readsWebp() throws Exception {
    BufferedImage stripes = picture("stripes.webp");
    assertThat(pixel(stripes, 3, 0)).isEqualTo(0x1EC81E);
    assertThat(pixel(stripes, 3, 6)).isEqualTo(0xDC1E1E);
    assertThat(pixel(stripes, 12, 6)).isEqualTo(0x1E1EDC);
    BufferedImage alpha = picture("alpha.webp"); // transparent red but for one blue pixel
    assertThat(pixel(alpha, 0, 0)).isEqualTo(0x0000FF);
    assertThat(pixel(alpha, 2, 2)).isEqualTo(0xFFFFFF);
  }

  @Test
  void readsCmyk() throws Exception {
    BufferedImage cmyk = picture("cmyk.jpg");
    int left = pixel(cmyk, 3, 6);
    int right = pixel(cmyk, 12, 6);
    assertThat(left >> 16 & 0xFF).isGreaterThan((left & 0xFF) + 100);
    assertThat(right & 0xFF).isGreaterThan((right >> 16 & 0xFF) + 100);
  }

  @Test
  void turnsPhotosUpright() throws Exception {
    BufferedImage upright = picture("rotated.jpg"); // orientation 6: turn right to look at it
    assertThat(upright.getWidth()).isEqualTo(8);
    assertThat(upright.getHeight()).isEqualTo(16);
    assertNear(pixel(upright, 7, 3), 0x1EC81E); // the band above is now at the right
    assertNear(pixel(upright, 1, 3), 0xDC1E1E);
    assertNear(pixel(upright, 1, 12), 0x1E1EDC);
  }

  @Test
  void namesThePictureThatCannotBeRead() throws IOException {
    assertThatThrownBy(() -> Images.decode(new byte[] {1, 2, 3}, "tar: cat.png"))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("tar: cat.png: no picture");
    assertThatThrownBy(() -> Images.decode("RIFF....WEBPVP8 ".getBytes("UTF-8"), "cat.webp"))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("cat.webp: damaged picture");
    byte[] whole = png(new BufferedImage(40, 40, BufferedImage.TYPE_INT_RGB));
    assertThatThrownBy(() -> Images.decode(Arrays.copyOf(whole, 60), "half.png"))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("half.png: damaged picture");
    assertThatThrownBy(() -> Images.read(folder.resolve("no.png")))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("no.png: there is no such file");
  }

  @Test
  void refusesABombBeforeItTakesMemory() throws IOException {
    byte[] bytes = png(new BufferedImage(4, 4, BufferedImage.TYPE_INT_RGB));
    ByteBuffer.wrap(bytes).putInt(16, 2_000_000).putInt(20, 2_000_000); // IHDR: width, height
    assertThatThrownBy(() -> Images.decode(bytes, "bomb.png"))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("bomb.png: 4000000000000 pixels");
  }

  @Test
  void turnsPicturesToTensorsAndBack() {
    BufferedImage image = new BufferedImage(3, 2, BufferedImage.TYPE_INT_RGB);
    image.setRGB(0, 0, 0x00FF80);
    image.setRGB(2, 1, 0x123456);
    try (Scope scope = Scope.open()) {
      Tensor tensor = Images.toTensor(image);
      assertThat(tensor.shape()).containsExactly(3, 2, 3);
      assertThat(tensor.select(0, 0).toFloatArray()[0]).isEqualTo(-1f);
      assertThat(tensor.select(0, 1).toFloatArray()[0]).isEqualTo(1f);
      assertThat(tensor.select(0, 2).toFloatArray()[0]).isEqualTo(128 / 255f * 2 - 1);
      List<BufferedImage> back = Images.fromTensor(Tensor.stack(0, List.of(tensor, tensor.neg())));
      assertThat(back).hasSize(2);
      assertThat(pixel(back.get(0), 0, 0)).isEqualTo(0x00FF80);
      assertThat(pixel(back.get(0), 2, 1)).isEqualTo(0x123456);
      assertThat(pixel(back.get(1), 2, 1)).isEqualTo(0xFFFFFF - 0x123456);
    }
  }

  @Test
  void holdsTensorsToTheRangeAndRefusesOthers() {
    try (Scope scope = Scope.open()) {
      Tensor wild = Tensor.of(new float[] {-7, 7, 0.001f}, 1, 3, 1, 1);
      assertThat(pixel(Images.fromTensor(wild).get(0), 0, 0)).isEqualTo(0x00FF80);
      assertThatThrownBy(() -> Images.fromTensor(Tensor.zeros(DType.F32, 3, 4, 4)))
          .hasMessageContaining("expected [B, 3, H, W]");
      Tensor broken = Tensor.full(Double.NaN, 1, 3, 1, 1);
      assertThatThrownBy(() -> Images.fromTensor(broken)).hasMessageContaining("NaN");
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"small", "large", "mixed"})
  void resizesAsPillow(String name) throws IOException {
    Path golden = Path.of("src/test/resources/golden/resize.safetensors");
    try (Scope scope = Scope.open();
        SafetensorsFile file = SafetensorsFile.open(golden)) {
      Tensor expected = file.read(name, DType.F32); // [H, W, 3]
      BufferedImage source = fromBytes(file.read("source"));
      BufferedImage resized = Images.resize(source, (int) expected.size(1), (int) expected.size(0));
      Tensor actual = Images.toTensor(resized).add(1).mul(127.5).permute(1, 2, 0);
      // Pillow's weights are fixed-point numbers: ties may fall the other way
      assertThat(actual.sub(expected).abs().max().item()).isLessThan(1.01);
    }
  }

  private static BufferedImage fromBytes(Tensor pixels) { // uint8 [H, W, 3]
    Tensor unit = pixels.to(DType.F32).div(127.5).sub(1).permute(2, 0, 1).unsqueeze(0);
    return Images.fromTensor(unit).get(0);
  }

  @Test
  void laysOutAGrid() {
    BufferedImage black = new BufferedImage(4, 3, BufferedImage.TYPE_INT_RGB);
    BufferedImage grid = Images.grid(List.of(black, black, black), 2);
    assertThat(grid.getWidth()).isEqualTo(10);
    assertThat(grid.getHeight()).isEqualTo(8);
    assertThat(pixel(grid, 9, 2)).isEqualTo(0);
    assertThat(pixel(grid, 4, 0)).isEqualTo(0xFFFFFF); // the gap
    assertThat(pixel(grid, 0, 5)).isEqualTo(0);
    assertThat(pixel(grid, 6, 5)).isEqualTo(0xFFFFFF); // the empty place
  }

  @Test
  void keepsTextInPng() throws IOException {
    Path file = folder.resolve("cat.png");
    Map<String, String> text = new LinkedHashMap<>();
    text.put("prompt", "a red apple, \"naïve\"\nsecond line");
    text.put("Title", "猫 🐈 – ő");
    text.put("empty", "");
    text.put("settings", Json.MAPPER.writeValueAsString(Map.of("steps", 4)));
    BufferedImage image = new BufferedImage(5, 4, BufferedImage.TYPE_INT_RGB);
    image.setRGB(1, 2, Color.ORANGE.getRGB());
    Images.writePng(file, image, text);
    assertThat(Images.pngText(file)).isEqualTo(text);
    assertThat(pixel(Images.read(file), 1, 2)).isEqualTo(Color.ORANGE.getRGB() & 0xFFFFFF);

    Images.writePng(file, image, Map.of());
    assertThat(Images.pngText(file)).isEmpty();
    assertThatThrownBy(() -> Images.writePng(file, image, Map.of(" bad", "x")))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("PNG keyword ' bad'");
    Files.write(file, new byte[10]);
    assertThatThrownBy(() -> Images.pngText(file)).hasMessageContaining("cat.png: no readable PNG");
  }

  @Test
  void randomNoiseSurvivesAFile() throws IOException {
    Path file = folder.resolve("noise.png");
    try (Scope scope = Scope.open()) {
      Tensor noise = Tensor.randn(Rng.seeded(3), 1, 3, 16, 9);
      BufferedImage image = Images.fromTensor(noise).get(0);
      Images.writePng(file, image, Map.of());
      Tensor back = Images.toTensor(Images.read(file));
      double worst = back.sub(noise.clamp(-1, 1).squeeze(0)).abs().max().item();
      assertThat(worst).isLessThan(1 / 255.0 + 1e-6); // half a level
    }
  }
}
