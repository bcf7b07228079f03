package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.awt.Color;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.perflow.io.Images;
import org.perflow.io.SafetensorsFile;
import org.perflow.tensor.Scope;

/** Pictures that a drawing starts from, as tools leave them: turned by EXIF, transparent. */
class PictureInputTest {
  private static final Path MODELS = Path.of("../models/src/test/resources/golden/models");
  private static final Path PICTURES = Path.of("src/test/resources/pictures");

  @TempDir Path folder;

  private Path generate(String... more) {
    Path out = folder.resolve("out.png");
    List<String> all = new ArrayList<>();
    all.addAll(List.of("generate", "--model=" + MODELS.resolve("sd15"), "--prompt=red apple"));
    all.addAll(List.of("--steps=2", "--scheduler=ddim", "--out=" + out));
    all.addAll(List.of(more));
    Commands result = Commands.run(all.toArray(String[]::new));
    assertThat(result.err()).isEmpty();
    assertThat(result.exitCode()).isZero();
    return out;
  }

  private float[] latents(String... more) throws IOException {
    Path file = folder.resolve("latents.safetensors");
    List<String> all = new ArrayList<>(List.of(more));
    all.add("--save-latents=" + file);
    generate(all.toArray(String[]::new));
    try (Scope scope = Scope.open();
        SafetensorsFile tensors = SafetensorsFile.open(file)) {
      return tensors.read("latents").toFloatArray();
    }
  }

  private Path start() throws IOException {
    BufferedImage image = new BufferedImage(64, 64, BufferedImage.TYPE_INT_RGB);
    for (int i = 0; i < 64 * 64; i++) {
      image.setRGB(i % 64, i / 64, new Color(i % 64 * 4, i / 64 * 4, 128).getRGB());
    }
    Path file = folder.resolve("start.png");
    Images.writePng(file, image, Map.of());
    return file;
  }

  @ParameterizedTest
  @CsvSource({"exif3.png, 32, 24", "exif6.png, 24, 32", "exif8.png, 24, 32", "exif6.jpg, 24, 32"})
  void aTurnedPictureIsDrawnUpright(String name, int width, int height) throws IOException {
    BufferedImage drawn = Images.read(generate("--image=" + PICTURES.resolve(name)));
    assertThat(drawn.getWidth()).isEqualTo(width);
    assertThat(drawn.getHeight()).isEqualTo(height);
  }

  @Test
  void whatIsTransparentInAMaskIsKept() throws IOException {
    String[] masked = {"--image=" + start(), "--strength=0.5", "--mask=", "--guidance=3"};
    masked[2] = "--mask=" + PICTURES.resolve("mask_l.png");
    float[] expected = latents(masked);
    masked[2] = "--mask=" + PICTURES.resolve("mask_rgba.png"); // white on transparent
    assertThat(latents(masked)).isEqualTo(expected);
    masked[2] = "--mask=" + start(); // another mask gives other latents
    assertThat(latents(masked)).isNotEqualTo(expected);
  }

  /** Edges on nothing, as a paint program exports them, are edges on black. */
  @Test
  void whatIsTransparentInAControlPictureIsBlack() throws IOException {
    BufferedImage edges = new BufferedImage(64, 64, BufferedImage.TYPE_INT_ARGB);
    for (int i = 8; i < 56; i++) {
      edges.setRGB(i, i, 0xFFFFFFFF);
    }
    Path clear = folder.resolve("clear.png");
    Path black = folder.resolve("black.png");
    Images.writePng(clear, edges, Map.of());
    Images.writePng(black, Images.onGround(edges, Color.BLACK), Map.of());
    String net = "--controlnet=" + MODELS.resolve("controlnet-sd15");
    assertThat(latents(net, "--control-image=" + clear, "--width=64", "--height=64"))
        .isEqualTo(latents(net, "--control-image=" + black, "--width=64", "--height=64"));
  }
}
