package org.perflow.delta;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.flow.Parameterization;
import org.perflow.io.FormatException;
import org.perflow.io.NamedTensors;
import org.perflow.io.SafetensorsWriter;
import org.perflow.io.WeightFiles;
import org.perflow.models.lora.LoraFile;
import org.perflow.tensor.DType;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Deltas with tensors and headers changed at random, from a seed: each is inspected, scaled, added
 * and made a LoRA of, or refused by a message that names it, soon.
 */
class DeltaFuzzTest {
  private static final Path SD15 = Path.of("../models/src/test/resources/golden/models/sd15");
  private static final Path UNET = SD15.resolve("unet/diffusion_pytorch_model.safetensors");

  private static final Map<String, List<String>> HEADER =
      Map.of(
          "kind",
          List.of("perflow-delta", "lora", ""),
          "scale",
          List.of("1", "-2", "NaN", "1e999", "x", "", "1e308"),
          "base_sha256",
          List.of("", "0", "x".repeat(64)),
          "prediction_type",
          List.of("epsilon", "v_prediction", "sample", ""),
          LoraFile.SCHEDULER,
          List.of(
              "{}",
              "[]",
              "{",
              "",
              "null",
              "{\"_class_name\": \"DDIMScheduler\"}",
              "{\"_class_name\": \"PeRFlowScheduler\"}",
              "{\"_class_name\": \"PeRFlowScheduler\", \"num_time_windows\": 2147483647}",
              "{\"_class_name\": \"PeRFlowScheduler\", \"prediction_type\": \"ddim_eps\"}",
              "{\"_class_name\": \"None\", \"beta_start\": NaN}",
              "{\"_class_name\": 3}"));

  @TempDir Path folder;

  private final Random random = new Random(23);

  private <T> T any(List<T> list) {
    return list.get(random.nextInt(list.size()));
  }

  /** A delta of {@code base}, of which up to three tensors are other ones. */
  private void write(Path delta, NamedTensors base) throws IOException {
    try (Scope scope = Scope.open()) {
      Map<String, Tensor> tensors = new TreeMap<>();
      for (NamedTensors.Entry entry : base.entries().values()) {
        tensors.put(entry.name(), Tensor.full(0.001, entry.shape()));
      }
      List<String> names = List.copyOf(tensors.keySet());
      for (int i = random.nextInt(4); i > 0; i--) {
        String name = any(names);
        switch (random.nextInt(5)) {
          case 0 -> tensors.remove(name);
          case 1 -> tensors.put("x" + name, Tensor.full(1, 2));
          case 2 -> tensors.put(name, Tensor.full(1, 3, 2));
          case 3 -> tensors.put(name, Tensor.full(1, 2).to(any(List.of(DType.I32, DType.BOOL))));
          default ->
              tensors.put(
                  name,
                  Tensor.full(
                      any(List.of(Double.NaN, 1e30, 1e38)), base.entries().get(name).shape()));
        }
      }
      Map<String, String> header = new TreeMap<>(Map.of("kind", "perflow-delta"));
      for (int i = random.nextInt(3); i > 0; i--) {
        String key = any(List.copyOf(HEADER.keySet()));
        header.put(key, any(HEADER.get(key)));
      }
      SafetensorsWriter.write(delta, tensors, header);
    }
  }

  private interface Use {
    void of(Path delta) throws IOException;
  }

  private void deltas(int count) throws IOException {
    Path out = folder.resolve("out.safetensors");
    List<Use> uses =
        List.of(
            Delta::info,
            delta -> Delta.scale(delta, 2, out),
            delta -> DeltaLora.write(delta, 2, LoraFile.Format.PEFT, DType.F16, out),
            delta -> Delta.apply(UNET, delta, out, Delta.Options.DEFAULTS, Map.of()),
            delta -> Delta.unapply(UNET, delta, out, Delta.Options.DEFAULTS, Map.of()),
            delta ->
                DeltaFolder.apply(
                    SD15,
                    delta,
                    folder.resolve("model"),
                    new DeltaFolder.Sampler(Parameterization.DDIM_EPS, 4),
                    Delta.Options.DEFAULTS,
                    Map.of()));
    Path delta = folder.resolve("delta.safetensors");
    int read = 0;
    try (NamedTensors base = WeightFiles.open(UNET)) {
      for (int i = 0; i < count; i++) {
        write(delta, base);
        Use use = any(uses);
        read += assertTimeoutPreemptively(Duration.ofSeconds(60), () -> isRead(use, delta)) ? 1 : 0;
      }
    }
    assertThat(read).isBetween(1, count - 1);
  }

  private static boolean isRead(Use use, Path delta) throws IOException {
    try {
      use.of(delta);
      return true;
    } catch (FormatException | IllegalArgumentException e) {
      assertThat(e.getMessage()).contains(delta.toString());
      return false;
    }
  }

  @Test
  void deltasAreReadOrRefused() throws IOException {
    deltas(60);
  }

  @Tag("slow")
  @Test
  void manyDeltasAreReadOrRefused() throws IOException {
    deltas(3_000);
  }
}
