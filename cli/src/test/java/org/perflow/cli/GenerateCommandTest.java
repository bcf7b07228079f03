package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.io.Images;
import picocli.CommandLine;

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
  void offloadingDrawsTheSame() throws IOException {
    assertThat(generate("--seed=3").exitCode()).isZero();
    byte[] whole = Files.readAllBytes(folder.resolve("out.png"));
    Commands result = generate("--seed=3", "--offload", "--device=cpu");
    assertThat(result.err()).contains("note: --offload saves nothing where the CPU draws");
    assertThat(Files.readAllBytes(folder.resolve("out.png"))).isEqualTo(whole);
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
        .containsEntry("clip_skip", "1")
        .containsEntry("image", "in.png")
        .containsEntry("mask", "in.png")
        .containsEntry(
            "controlnet",
            "controlnet-sd15 (in.png, scale 0.5, 0.0 to 1.0);"
                + " controlnet-sd15 (in.png, scale 1.0, 0.0 to 0.5)")
        .containsEntry("long_prompts", "true")
        .containsEntry("vae_tiling", "true");
    assertThat(Images.read(folder.resolve("out-preview.png")).getWidth()).isEqualTo(64);
  }

  /** Help promises that all settings are in the PNG: a new option finds its place, or a reason. */
  @Test
  void everyOptionIsASettingInThePngOrChangesNoPixel() {
    Map<String, String> keys = new HashMap<>();
    for (String same :
        List.of(
            "model",
            "prompt",
            "negative-prompt",
            "long-prompts",
            "cut-prompts",
            "clip-skip",
            "image",
            "strength",
            "mask",
            "controlnet",
            "steps",
            "guidance",
            "guidance-rescale",
            "seed",
            "scheduler",
            "lora",
            "embedding",
            "dtype",
            "device",
            "vae-tiling")) {
      keys.put("--" + same, same.replace('-', '_'));
    }
    for (String part : List.of("image", "scale", "start", "end")) {
      keys.put("--control-" + part, "controlnet"); // in words
    }
    List<String> elsewhere =
        List.of(
            "--width",
            "--height", // the picture's own
            "--count",
            "--out",
            "--save-latents",
            "--batch",
            "--preview",
            "--offload", // no pixel depends on them
            "--json",
            "--stacktrace",
            "--help",
            "--version");
    CommandLine command = new CommandLine(new GenerateCommand());
    Set<String> options = new TreeSet<>(command.getCommandSpec().optionsMap().keySet());
    options.removeIf(name -> !name.startsWith("--"));
    Set<String> known = new TreeSet<>(keys.keySet());
    known.addAll(elsewhere);
    assertThat(options).isEqualTo(known);
  }

  @Test
  void aCutPromptSaysSo() throws IOException {
    String prompt = "--prompt=" + "apple ".repeat(90);
    assertThat(generate(prompt, "--cut-prompts").exitCode()).isZero();
    assertThat(Images.pngText(folder.resolve("out-002.png"))).containsEntry("cut_prompts", "true");
  }

  @Test
  void picturesThatAreMissingAreNamed() throws IOException {
    assertThat(generate("--strength=0.5").err()).contains("--strength needs --image");
    assertThat(generate("--mask=" + picture()).err()).contains("--mask needs --image");
    assertThat(generate("--controlnet=" + CONTROL).err()).contains("needs --control-image");
    Commands unknown =
        generate("--controlnet=" + folder.resolve("none"), "--control-image=" + picture());
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

  @Test
  void textualInversions() throws IOException {
    Path files = MODELS.resolveSibling("embeddings");
    Commands result =
        generate(
            "--prompt=a <cat-toy> beside a <toy>",
            "--embedding=" + files.resolve("learned_embeds.safetensors"),
            "--embedding=<toy>=" + files.resolve("several.bin"),
            "--embedding=" + files.resolve("a1111.pt"));
    assertThat(result.err()).isEqualTo("note: no prompt says bad-hands, so it is not used\n");
    assertThat(result.exitCode()).isZero();
    try (Stream<Path> pictures = Files.list(folder)) {
      for (Path picture : pictures.toList()) {
        assertThat(Images.pngText(picture).get("embedding"))
            .contains("learned_embeds.safetensors", "<toy>=");
      }
    }
    Commands twice = generate("--embedding=cat=" + files.resolve("several.bin"));
    assertThat(twice.exitCode()).isEqualTo(2);
    assertThat(twice.err()).contains("the tokenizer knows 'cat' already");
  }
}
