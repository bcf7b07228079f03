package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.io.Images;

/** Pictures from the tiny models of the tests, option by option. */
class GenerateCommandTest {
  private static final Path MODELS = Path.of("../models/src/test/resources/golden/models");
  private static final String SD15 = MODELS.resolve("sd15").toString();
  private static final String CONTROL = MODELS.resolve("controlnet-sd15").toString();

  @TempDir Path folder;

  private Commands generate(String... more) {
    String[] usual = {
      "generate",
      "--model=" + SD15,
      "--prompt=a red apple",
      "--steps=4",
      "--width=32",
      "--height=32",
      "--out=" + folder.resolve("out.png")
    };
    String[] all = new String[usual.length + more.length];
    System.arraycopy(usual, 0, all, 0, usual.length);
    System.arraycopy(more, 0, all, usual.length, more.length);
    return Commands.run(all);
  }

  private Path picture() throws IOException {
    Path file = folder.resolve("in.png");
    Images.writePng(file, new BufferedImage(40, 36, BufferedImage.TYPE_INT_RGB), Map.of());
    return file;
  }

  @Test
  void everyOptionAtOnce() throws IOException {
    Path in = picture();
    Commands result =
        generate(
            "--image=" + in,
            "--strength=0.5",
            "--mask=" + in,
            "--controlnet=" + CONTROL,
            "--control-scale=0.5",
            "--controlnet=" + CONTROL,
            "--control-image=" + in,
            "--control-end=0.5",
            "--clip-skip=1",
            "--long-prompts",
            "--guidance=7.5-4",
            "--preview=" + MODELS.resolve("taesd"),
            "--vae-tiling");
    assertThat(result.err()).isEmpty();
    assertThat(result.exitCode()).isZero();
    BufferedImage drawn = Images.read(folder.resolve("out.png"));
    assertThat(drawn.getWidth()).isEqualTo(32);
    assertThat(Images.pngText(folder.resolve("out.png")))
        .containsEntry("guidance", "7.5-4")
        .containsEntry("strength", "0.5")
        .containsEntry("clip_skip", "1");
    assertThat(Images.read(folder.resolve("out-preview.png")).getWidth()).isEqualTo(64);
  }

  @Test
  void picturesThatAreMissingAreNamed() throws IOException {
    assertThat(generate("--strength=0.5").err()).contains("--strength needs --image");
    assertThat(generate("--mask=" + picture()).err()).contains("--mask needs --image");
    assertThat(generate("--controlnet=" + CONTROL).err()).contains("needs --control-image");
    Commands unknown = generate("--controlnet=" + folder.resolve("none"));
    assertThat(unknown.err()).contains("no such ControlNet folder").hasLineCount(1);
    assertThat(unknown.exitCode()).isEqualTo(2);
    assertThat(generate("--guidance=7.5,4").err()).contains("7.5-4-4-4").hasLineCount(1);
  }

  @Test
  void refineEnlarges() throws IOException {
    Path out = folder.resolve("large.png");
    Commands result =
        Commands.run(
            "refine",
            "--model=" + SD15,
            "--controlnet=" + CONTROL,
            "--prompt=a red apple",
            "--image=" + picture(),
            "--steps=2",
            "--out=" + out);
    assertThat(result.err()).isEmpty();
    assertThat(result.out()).contains("80 x 72");
    assertThat(Images.read(out).getHeight()).isEqualTo(72);
  }
}
