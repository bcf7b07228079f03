package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.perflow.io.NamedTensors;
import org.perflow.io.SafetensorsFile;
import org.perflow.io.SafetensorsWriter;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import picocli.CommandLine;
import picocli.CommandLine.Command;

/** Files and words that cannot be right: one line that says what to do, and exit code 2. */
class BadInputTest {
  private static final Path MODELS = Path.of("../models/src/test/resources/golden/models");
  private static final Path MODEL = MODELS.resolve("sd15");
  private static final String UNET = "unet/diffusion_pytorch_model.safetensors";

  @TempDir Path temp;

  private Commands generate(Path model, String... more) {
    List<String> args = new ArrayList<>(List.of("generate", "--model=" + model, "--steps=2"));
    args.add("--out=" + temp.resolve("p.png"));
    args.addAll(List.of(more));
    if (Arrays.stream(more).noneMatch(arg -> arg.matches("--width.*"))) {
      args.addAll(List.of("--width=32", "--height=32"));
    }
    return Commands.run(args.toArray(String[]::new));
  }

  private static void assertRefused(Commands result, String... words) {
    assertThat(result.exitCode()).as(result.err()).isEqualTo(2);
    assertThat(result.err()).contains(words).hasLineCount(1);
    assertThat(result.out()).isEmpty();
  }

  // ---------------------------------------------------------------- files

  private static byte[] safetensors(long headerLength, String header, int data) {
    byte[] text = header.getBytes(StandardCharsets.UTF_8);
    return ByteBuffer.allocate(8 + text.length + data)
        .order(ByteOrder.LITTLE_ENDIAN)
        .putLong(headerLength < 0 ? text.length : headerLength)
        .put(text)
        .array();
  }

  private static String tensors(long a, long b, long c, long d) {
    String tensor = "{\"dtype\": \"F32\", \"shape\": [%d], \"data_offsets\": [%d, %d]}";
    return "{\"a\": %s, \"b\": %s}"
        .formatted(tensor.formatted((b - a) / 4, a, b), tensor.formatted((d - c) / 4, c, d));
  }

  private static byte[] broken(String how) throws IOException {
    byte[] weights = Files.readAllBytes(MODEL.resolve(UNET));
    switch (how) {
      case "truncated" -> {
        return Arrays.copyOf(weights, weights.length / 2);
      }
      case "cut in its header" -> {
        return Arrays.copyOf(weights, 1000);
      }
      case "empty" -> {
        return new byte[0];
      }
      case "overlapping" -> {
        return safetensors(-1, tensors(0, 8, 4, 12), 12);
      }
      case "out of range" -> {
        return safetensors(-1, tensors(0, 8, 8, 1L << 62), 16);
      }
      case "header of 10 GB" -> {
        return safetensors(10_000_000_000L, "{}", 0);
      }
      case "NaN" -> {
        ByteBuffer.wrap(weights)
            .order(ByteOrder.LITTLE_ENDIAN)
            .putFloat(weights.length - 4, Float.NaN);
        return weights;
      }
      case "another family" -> {
        return Files.readAllBytes(
            MODELS.resolve("sd21-unet").resolve(PublishedForm.NAME + ".safetensors"));
      }
      default -> throw new IllegalArgumentException(how);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "truncated, it is truncated: expected, copy or download it again",
    "cut in its header, it is truncated: expected, copy or download it again",
    "empty, too few for a safetensors file, download it again",
    "overlapping, they overlap, download it again",
    "out of range, it is truncated: expected, copy or download it again",
    "header of 10 GB, a header of 10000000000 bytes, or damaged",
    "NaN, holds NaN values, the file is damaged",
    "another family, the file holds: SD-2.x U-Net, use the config.json that came with these weights",
  })
  void brokenWeights(String how, String problem, String advice) throws IOException {
    Path model = PublishedForm.PLAIN.copy(MODEL, temp.resolve("model"));
    Files.write(model.resolve(UNET), broken(how));
    assertRefused(generate(model, "--prompt=x"), model.resolve(UNET).toString(), problem, advice);
  }

  @Test
  void brokenDeltas() throws IOException {
    Path file = temp.resolve("d.safetensors");
    Path out = temp.resolve("out.safetensors");
    for (String how : List.of("truncated", "overlapping", "header of 10 GB", "another family")) {
      Files.write(file, broken(how));
      assertRefused(
          Commands.run("delta", "apply", "--base=" + MODEL, "--delta=" + file, "--out=" + out),
          file.toString());
    }
    Files.write(file, broken("NaN"));
    assertRefused(
        Commands.run("delta", "extract", "--base=" + MODEL, "--student=" + file, "--out=" + out),
        file.toString(),
        "NaN or infinite");
    Path delta = temp.resolve("nan.safetensors");
    Path same = temp.resolve("same.safetensors");
    Files.copy(MODEL.resolve(UNET), same, StandardCopyOption.REPLACE_EXISTING);
    Commands.run("delta", "extract", "--base=" + MODEL, "--student=" + same, "--out=" + delta);
    byte[] bytes = Files.readAllBytes(delta);
    ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN).putFloat(bytes.length - 4, Float.NaN);
    Files.write(delta, bytes);
    assertRefused(
        Commands.run("delta", "apply", "--base=" + MODEL, "--delta=" + delta, "--out=" + out),
        delta.toString(),
        "NaN or infinite");
    assertThat(out).doesNotExist();
  }

  /** Networks of a family's shape that are sampled otherwise. */
  @ParameterizedTest
  @CsvSource({"edm_mean, Playground v2.5", "edm_vpred.sigma_max, CosXL"})
  void otherNetworksInAFamilysShape(String key, String name) throws IOException {
    Path single = temp.resolve("xl.safetensors");
    Commands.run("convert", MODELS.resolve("sdxl").toString(), single.toString());
    Path other = temp.resolve("other.safetensors");
    try (Scope scope = Scope.open();
        NamedTensors source = SafetensorsFile.open(single)) {
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      for (String tensor : source.entries().keySet()) {
        tensors.put(tensor, source.read(tensor));
      }
      tensors.put(key, Tensor.full(1, 1, 4, 1, 1));
      SafetensorsWriter.write(other, tensors, Map.of());
    }
    Path out = temp.resolve("out");
    assertRefused(
        Commands.run("convert", other.toString(), out.toString()), other.toString(), name);
    assertRefused(generate(other, "--prompt=x"), other.toString(), name, "not built");
    assertThat(Commands.run("inspect", other.toString()).out()).contains(name);
    assertThat(out).doesNotExist();
  }

  @Test
  void lorasWithNaN() throws IOException {
    Path file = temp.resolve("nan.safetensors");
    String layer = "lora_unet_mid_block_attentions_0_proj_in";
    try (Scope scope = Scope.open()) {
      Tensor down = Tensor.full(Double.NaN, 2, 64);
      Tensor up = Tensor.full(1, 64, 2);
      SafetensorsWriter.write(
          file, Map.of(layer + ".lora_down.weight", down, layer + ".lora_up.weight", up), Map.of());
    }
    assertRefused(
        generate(MODEL, "--prompt=x", "--lora=" + file),
        file + ": layer mid_block_attentions_0_proj_in of unet holds NaN");
  }

  /** Fails as the virtual machine does. */
  @Command(name = "fails")
  private static final class Fails extends Verb {
    private final Error error;

    Fails(Error error) {
      this.error = error;
    }

    @Override
    void run() {
      throw error;
    }
  }

  @Test
  void errorsOfTheVirtualMachineAreOneLineToo() {
    List<Error> errors =
        List.of(
            new OutOfMemoryError("Java heap space"),
            new StackOverflowError(),
            new NoClassDefFoundError("org/example/Missing"));
    for (Error error : errors) {
      StringWriter err = new StringWriter();
      CommandLine commands = Main.commandLine();
      CommandLine fails = new CommandLine(new Fails(error));
      commands.addSubcommand(fails);
      fails.setExecutionExceptionHandler(commands.getExecutionExceptionHandler());
      fails.setErr(new PrintWriter(err));
      assertThat(commands.execute("fails")).isEqualTo(1);
      assertThat(err.toString()).startsWith("perflow fails: ").hasLineCount(1);
      assertThat(err.toString()).containsAnyOf("Java's heap of", "--stacktrace shows where");
    }
  }

  // ---------------------------------------------------------------- words

  @ParameterizedTest
  @CsvSource({
    "--width=33 --height=32, must be multiples of, nearest is 32x32",
    "--scheduler=unipcc, unknown scheduler 'unipcc', did you mean 'unipc'?",
    "--scheduler=eular, unknown scheduler 'eular', did you mean 'euler'?",
    "--stepz=3, '--stepz=3', did you mean '--steps'",
    "--dtype=float, unknown dtype 'float', float32",
    "--guidance=high, high, 7.5-4-4-4",
  })
  void wrongWords(String options, String problem, String advice) {
    List<String> args = new ArrayList<>(List.of(options.split(" ")));
    args.add("--prompt=x");
    assertRefused(generate(MODEL, args.toArray(String[]::new)), problem, advice);
  }

  /** Found before any model is looked for, since loading one takes its time. */
  @ParameterizedTest
  @CsvSource({
    "--steps=0, steps is 0, want 1 to",
    "--steps=2147483647, steps is 2147483647, 'to 100,000'",
    "--width=100000000, size is 100000000x1, 'at most 67,108,864 pixels'",
    "--width=-8, size is -8x0, positive",
    "--width=8200 --height=8200, size is 8200x8200, 'at most 67,108,864 pixels'",
    "--count=2147483647, --count is 2147483647, 'up to 100,000 pictures'",
    "--count=0, --count is 0, 1 or more",
    "--batch=0, --batch is 0, 1 or more",
    "--clip-skip=-1, clip skip is -1, 0 or more",
    "--guidance=NaN, guidance is [NaN], 7.5-4-4-4",
    "--guidance-rescale=NaN, guidance rescale is NaN, 0 (none) to 1",
    "--scheduler=nosuch, unknown scheduler 'nosuch', known:",
    "--strength=0.5, --strength needs --image, the picture",
    "--image=nosuch.png, nosuch.png, there is no such file",
    "--image=pom.xml, pom.xml, no picture (PNG",
    "--controlnet=nosuch, --controlnet nosuch, needs --control-image",
    "--lora=x:NaN, --lora x:NaN, FILE:WEIGHT",
    "--lora=nosuch:0.5, nosuch, there is no such file",
    "--embedding=<a>=nosuch, nosuch, there is no such file",
  })
  void optionsAreCheckedBeforeModels(String options, String problem, String advice) {
    List<String> args = new ArrayList<>(List.of("generate", "--model=no-such-model", "--prompt=x"));
    args.addAll(List.of(options.split(" ")));
    assertRefused(Commands.run(args.toArray(String[]::new)), problem, advice);
  }

  @Test
  void optionsOfRefineAreCheckedBeforeModels() {
    for (String option : List.of("--factor=0", "--factor=9", "--strength=NaN", "--strength=0")) {
      assertRefused(
          Commands.run("refine", "--model=nosuch", "--controlnet=" + temp, "--prompt=x", option),
          option.substring(0, option.indexOf('=')),
          "expected");
    }
  }

  @Test
  void optionsOfBenchmarkAreCheckedBeforeModelsAreMade() {
    for (String size : List.of("0", "33", "8192", "2147483647")) {
      assertRefused(Commands.run("benchmark", "sd1", "--size=" + size), "size must be", size);
    }
    assertRefused(Commands.run("benchmark", "sd1", "--solving-steps=0"), "solvingSteps", "0");
  }

  @Test
  void mistypedCommandsAndRequiredOptions() {
    assertRefused(Commands.run("generat"), "did you mean 'generate'");
    assertRefused(Commands.run("delta", "aply"), "did you mean 'apply'");
    assertRefused(Commands.run("generate", "--promt=x"), "did you mean '--prompt'");
    assertRefused(
        Commands.run("delta", "to-lora", "d", "--rank=1", "--out=x", "--format=khoya"),
        "khoya",
        "KOHYA",
        "PEFT");
  }

  @Test
  void promptsOverTheLimitSayWhatWouldBeCut() {
    String wordy = "circle ".repeat(50) + "sunflower";
    assertRefused(
        generate(MODEL, "--prompt=" + wordy),
        "the model reads 75 tokens",
        "sunflower\"",
        "--long-prompts");
    assertRefused(generate(MODEL, "--prompt=x", "--negative-prompt=" + wordy), "sunflower");
    assertThat(temp.resolve("p.png")).doesNotExist();
    Path net = MODELS.resolve("controlnet-sd15");
    assertRefused(
        Commands.run("refine", "--model=" + MODEL, "--controlnet=" + net, "--prompt=" + wordy),
        "sunflower",
        "shorten it");
  }

  /** As diffusers does: the picture is drawn, and a note says without what. */
  @Test
  void promptsAreCutWhereThatIsAskedFor() {
    String wordy = "--prompt=" + "circle ".repeat(50) + "sunflower";
    Commands result = generate(MODEL, wordy, "--cut-prompts");
    assertThat(result.exitCode()).isEqualTo(0);
    assertThat(result.err()).contains("note:", "sunflower").hasLineCount(1);
    assertThat(generate(MODEL, wordy, "--long-prompts").err()).isEmpty();
    Commands longWord = generate(MODEL, "--prompt=" + "ab".repeat(40_000), "--cut-prompts");
    assertThat(longWord.exitCode()).isEqualTo(0);
    assertThat(longWord.err()).contains("... (80,000 characters)").hasSizeLessThan(500);
  }
}
