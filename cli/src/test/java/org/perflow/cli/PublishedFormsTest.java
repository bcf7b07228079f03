package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.perflow.io.Json;
import org.perflow.io.LazyTensor;
import org.perflow.io.NamedTensors;
import org.perflow.io.SafetensorsFile;
import org.perflow.io.SafetensorsWriter;
import org.perflow.models.DiffusionModel;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.models.UNetConfig;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Module;

/** Models as people publish them: what deltas make of them, and the memory that loading takes. */
class PublishedFormsTest {
  private static final Path MODELS = Path.of("../models/src/test/resources/golden/models");
  private static final Path TEACHER = MODELS.resolve("sd15");
  private static final String UNET = "unet/diffusion_pytorch_model.safetensors";

  @TempDir Path temp;

  private static JsonNode run(String... args) throws IOException {
    Commands result = Commands.run(args);
    assertThat(result.exitCode()).as(result.err()).isEqualTo(0);
    return Json.MAPPER.readTree(result.out());
  }

  // ---------------------------------------------------------------- deltas

  /** The teacher with other weights, and PeRFlow's scheduler. */
  private Path student() throws IOException {
    Path student = temp.resolve("student");
    try (DiffusionModel model = DiffusionModel.load(TEACHER, DType.F32)) {
      ObjectNode scheduler = model.schedulerConfig();
      scheduler.put("_class_name", "PeRFlowScheduler").put("prediction_type", "ddim_eps");
      model.withScheduler(scheduler.put("num_time_windows", 4)).save(student, DType.F32, Map.of());
    }
    Path changed = temp.resolve("changed.safetensors");
    try (SafetensorsFile weights = SafetensorsFile.open(student.resolve(UNET))) {
      Map<String, LazyTensor> tensors = new LinkedHashMap<>();
      for (NamedTensors.Entry entry : weights.entries().values()) {
        LazyTensor other =
            new LazyTensor(
                DType.F32,
                entry.shape(),
                () -> {
                  try (Rng rng = Rng.seeded(entry.name().hashCode())) {
                    Tensor change = Tensor.randn(rng, entry.shape()).mul(1e-3);
                    return weights.read(entry.name()).add(change);
                  }
                });
        tensors.put(entry.name(), other);
      }
      SafetensorsWriter.write(changed, tensors, type -> type, Map.of());
    }
    Files.move(changed, student.resolve(UNET), StandardCopyOption.REPLACE_EXISTING);
    return student;
  }

  private static void assertNear(Path got, Path expected) throws IOException {
    try (SafetensorsFile a = SafetensorsFile.open(got);
        SafetensorsFile b = SafetensorsFile.open(expected);
        NoGrad guard = NoGrad.enter()) {
      assertThat(a.entries().keySet()).isEqualTo(b.entries().keySet());
      for (String name : a.entries().keySet()) {
        try (Scope scope = Scope.open()) {
          Tensor difference = a.read(name, DType.F32).sub(b.read(name, DType.F32));
          assertThat(difference.abs().max().item()).as(name).isLessThan(1e-6);
        }
      }
    }
  }

  @ParameterizedTest
  @EnumSource(PublishedForm.class)
  void deltasTakeEveryForm(PublishedForm form) throws IOException {
    Path plain = student();
    String base = form.copy(TEACHER, temp.resolve("base")).toString();
    String student = form.copy(plain, temp.resolve("other")).toString();
    Path delta = temp.resolve("d.safetensors");
    run("delta", "extract", "--json", "--base=" + base, "--student=" + student, "--out=" + delta);
    String by = delta.toString();
    if (form != PublishedForm.SINGLE_FILE) { // deltas come as folders, too
      Path published = Files.createDirectories(temp.resolve("published"));
      try (SafetensorsFile weights = SafetensorsFile.open(delta)) {
        form.write(weights, published);
      }
      by = published.toString();
    }
    assertThat(run("delta", "inspect", "--json", by).at("/about/family").asText())
        .isEqualTo("SD-1.x U-Net");
    Path out = temp.resolve("out.safetensors");
    run("delta", "apply", "--json", "--base=" + base, "--delta=" + delta, "--out=" + out);
    assertNear(out, plain.resolve(UNET));
    run("delta", "unapply", "--json", "--student=" + student, "--delta=" + by, "--out=" + out);
    assertNear(out, TEACHER.resolve(UNET));
    run("delta", "scale", "--json", by, "--by=1", "--out=" + out);
    assertNear(out, delta);
    run("delta", "to-lora", "--json", by, "--rank=2", "--out=" + out);
    if (form != PublishedForm.SINGLE_FILE) {
      Path fast = temp.resolve("fast");
      run("delta", "apply", "--json", "--base=" + base, "--delta=" + delta, "--out=" + fast);
      assertNear(fast.resolve(UNET), plain.resolve(UNET));
      try (var files = Files.list(fast.resolve("unet"))) { // and no weights of the base
        assertThat(files.map(file -> file.getFileName().toString()))
            .containsExactlyInAnyOrder("config.json", UNET.substring("unet/".length()));
      }
    }
  }

  @Test
  void aDeltaKnowsTheVeryShardsThatItWasTakenAgainst() throws IOException {
    Path base = PublishedForm.SHARDS.copy(TEACHER, temp.resolve("base"));
    Path delta = temp.resolve("d.safetensors");
    Path out = temp.resolve("out.safetensors");
    run("delta", "extract", "--json", "--base=" + base, "--student=" + student(), "--out=" + delta);
    Path shard = base.resolve("unet/diffusion_pytorch_model-00002-of-00002.safetensors");
    byte[] bytes = Files.readAllBytes(shard);
    bytes[bytes.length - 4] ^= 1; // the last bit of a weight
    Files.write(shard, bytes);
    Commands result =
        Commands.run("delta", "apply", "--base=" + base, "--delta=" + delta, "--out=" + out);
    assertThat(result.exitCode()).isEqualTo(2);
    assertThat(result.err()).contains("was taken against weights of sha256").hasLineCount(1);
  }

  @Test
  void anotherFamilyIsRefusedInOneLine() throws IOException {
    Path delta = temp.resolve("d.safetensors");
    Path base = MODELS.resolve("sd21-unet");
    run("delta", "extract", "--json", "--base=" + base, "--student=" + base, "--out=" + delta);
    Path out = temp.resolve("out.safetensors");
    Commands result =
        Commands.run(
            "delta",
            "apply",
            "--any-base",
            "--base=" + TEACHER,
            "--delta=" + delta,
            "--out=" + out);
    assertThat(result.exitCode()).isEqualTo(2);
    assertThat(result.err())
        .contains("does not fit", "that is SD-2.x U-Net, this is SD-1.x U-Net")
        .hasLineCount(1);
    assertThat(out).doesNotExist();
  }

  // ---------------------------------------------------------------- memory

  /** A field of /proc/self/status, in bytes. */
  private static long status(String field) throws IOException {
    for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
      if (line.startsWith(field + ":")) {
        return 1024 * Long.parseLong(line.replaceAll("\\D", ""));
      }
    }
    throw new IOException("the kernel does not say " + field);
  }

  /** Weights stream into their final type: a peak of the model and its largest tensor, no more. */
  @Tag("slow") // a process a form, each with a model of hundreds of megabytes
  @ParameterizedTest
  @EnumSource(
      value = PublishedForm.class,
      names = {"PLAIN", "SHARDS", "BIN", "SINGLE_FILE"})
  void loadingTakesTheModelAndItsLargestTensor(PublishedForm form) throws IOException {
    assumeTrue(Files.isWritable(Path.of("/proc/self/clear_refs")), "needs Linux to measure");
    Path wide = temp.resolve("wide");
    PublishedForm.PLAIN.copy(TEACHER, wide);
    ObjectNode config = (ObjectNode) Json.read(wide.resolve("unet/config.json"));
    config.putArray("block_out_channels").add(320).add(640);
    try (var unet = new UNet2DConditionModel(UNetConfig.of(config));
        Rng rng = Rng.seeded(1)) {
      unet.initialise(rng, DType.F32);
      unet.save(wide.resolve("unet"), DType.F32, Map.of());
    }
    Path small = form.copy(TEACHER, temp.resolve("small"));
    Path model = form.copy(wide, temp.resolve("published"));
    Process child = // this one's memory is full of what was freed, which loading would fill again
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp",
                System.getProperty("java.class.path"),
                LoadingProbe.class.getName(),
                small.toString(),
                model.toString())
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    JsonNode measured = Json.MAPPER.readTree(child.getInputStream());
    System.out.printf("loading %s, bytes: %s%n", form, measured);
    assertThat(measured.path("peak").asLong())
        .isLessThan(measured.path("model").asLong() + measured.path("largest").asLong());
  }

  /** Loads a small model to be warm, then one as bfloat16, and says what that took. */
  static final class LoadingProbe {
    private LoadingProbe() {}

    public static void main(String[] args) throws IOException {
      DiffusionModel.load(Path.of(args[0]), DType.BF16).close();
      System.gc();
      Files.writeString(Path.of("/proc/self/clear_refs"), "5"); // the peak begins anew
      long before = status("VmRSS");
      try (DiffusionModel loaded = DiffusionModel.load(Path.of(args[1]), DType.BF16)) {
        long peak = status("VmHWM") - before;
        long weights = 0;
        long largest = 0;
        Module[] parts = {loaded.unet(), loaded.vae(), loaded.textEncoder()};
        for (Module part : parts) {
          for (var parameter : part.namedParameters().values()) {
            long count = parameter.value().numel();
            weights += 2 * count;
            largest = Math.max(largest, 4 * count); // as stored
          }
        }
        Map<String, Long> measured = Map.of("peak", peak, "model", weights, "largest", largest);
        System.out.println(Json.MAPPER.writeValueAsString(measured));
      }
    }
  }
}
