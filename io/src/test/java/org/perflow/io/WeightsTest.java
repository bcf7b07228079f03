package org.perflow.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.tensor.DType;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Linear;
import org.perflow.tensor.nn.Module;
import org.perflow.tensor.nn.Parameter;

class WeightsTest {
  @TempDir Path folder;

  private static final class Net extends Module {
    Net() {
      child("to_out.0", new Linear(3, 4));
      child("proj", new Linear(4, 2, false));
    }
  }

  private static final class Many extends Module {
    Many() {
      for (int i = 0; i < 100; i++) {
        child(Integer.toString(i), new Linear(3, 4, false));
      }
    }
  }

  @Test
  void savesAndLoadsAModule() throws IOException {
    Path path = folder.resolve("net.safetensors");
    try (Scope scope = Scope.open();
        Net net = new Net();
        Net other = new Net()) {
      net.initialise(Rng.seeded(0), DType.F32);
      Weights.save(net, path, DType.F32, Map.of("perflow.source", "test"));
      Weights.load(other, path, DType.F32);
      net.namedParameters()
          .forEach(
              (name, parameter) ->
                  assertThat(other.namedParameters().get(name).value().toFloatArray())
                      .isEqualTo(parameter.value().toFloatArray()));
      Weights.save(net, path, DType.F16, Map.of());
      Weights.load(other, path, DType.BF16);
      assertThat(other.namedParameters().get("proj.weight").value().dtype()).isEqualTo(DType.BF16);
      try (SafetensorsFile file = SafetensorsFile.open(path)) {
        assertThat(file.metadata()).containsEntry("format", "pt"); // transformers insists
        assertThat(file.entries())
            .containsOnlyKeys("to_out.0.weight", "to_out.0.bias", "proj.weight");
        assertThat(file.entries().get("proj.weight").dtype()).isEqualTo(DType.F16);
      }
    }
  }

  @Test
  void loadingAgainFreesTheOldWeights() throws IOException {
    Path path = folder.resolve("net.safetensors");
    try (Net net = new Net()) {
      net.initialise(Rng.seeded(0), DType.F32);
      Weights.save(net, path, DType.F32, Map.of());
      Weights.load(net, path, DType.F32);
      long before = Scope.liveObjects();
      for (int i = 0; i < 20; i++) {
        Weights.load(net, path, DType.BF16);
        Weights.save(net, path, DType.F32, Map.of());
      }
      assertThat(Scope.liveObjects() - before).isLessThan(20);
    }
  }

  /** Those of a LoRA are as large as the whole model, of which there must be no second one. */
  @Test
  void adaptedWeightsAreWorkedOutOneAtATime() throws IOException {
    Path path = folder.resolve("net.safetensors");
    List<Long> live = new ArrayList<>();
    try (Many net = new Many()) {
      net.initialise(Rng.seeded(0), DType.F32);
      net.namedParameters()
          .values()
          .forEach(
              parameter ->
                  parameter.adapt(
                      stored -> {
                        live.add(Scope.liveObjects());
                        return stored.add(1);
                      }));
      Weights.save(net, path, DType.F32, Map.of());
      net.namedParameters().values().forEach(Parameter::restore);
      assertThat(live).hasSizeGreaterThanOrEqualTo(100);
      assertThat(live.get(live.size() - 1) - live.get(0)).isLessThan(20);
      try (Scope scope = Scope.open();
          SafetensorsFile file = SafetensorsFile.open(path)) {
        float[] stored = net.namedParameters().get("7.weight").value().add(1).toFloatArray();
        assertThat(file.read("7.weight", DType.F32).toFloatArray()).isEqualTo(stored);
      }
    }
  }

  @Test
  void listsEveryMismatchAndLoadsNothing() throws IOException {
    Path path = folder.resolve("net.safetensors");
    try (Scope scope = Scope.open();
        Net net = new Net()) {
      Map<String, Tensor> tensors = new HashMap<>();
      tensors.put("to_out.0.weight", Tensor.zeros(DType.F32, 4, 3));
      tensors.put("proj.weight", Tensor.zeros(DType.F32, 2, 5));
      tensors.put("embeddings.position_ids", Tensor.arange(4)); // harmless
      for (int i = 0; i < 23; i++) {
        tensors.put("extra." + i, Tensor.zeros(DType.F32, 1));
      }
      SafetensorsWriter.write(path, tensors, Map.of());
      assertThatThrownBy(() -> Weights.load(net, path, DType.F32))
          .isInstanceOf(FormatException.class)
          .hasMessageContaining(path + " does not fit Net")
          .hasMessageContaining("1 missing in the file:\n    to_out.0.bias")
          .hasMessageContaining("23 in the file but not in the model:")
          .hasMessageContaining("... and 3 more")
          .hasMessageContaining("proj.weight: file [2, 5], model [2, 4]")
          .hasMessageNotContaining("position_ids");
      assertThatThrownBy(() -> net.namedParameters().get("to_out.0.weight").value())
          .isInstanceOf(IllegalStateException.class);
    }
  }

  @Test
  void refusesWeightsThatAreNotFinite() throws IOException {
    Path path = folder.resolve("net.safetensors");
    try (Scope scope = Scope.open();
        Net net = new Net()) {
      Map<String, Tensor> tensors = new HashMap<>();
      tensors.put("to_out.0.weight", Tensor.zeros(DType.F32, 4, 3));
      tensors.put("to_out.0.bias", Tensor.zeros(DType.F32, 4));
      tensors.put("proj.weight", Tensor.of(new float[] {0, 1, 2, Float.NaN, 4, 5, 6, 7}, 2, 4));
      SafetensorsWriter.write(path, tensors, Map.of());
      assertThatThrownBy(() -> Weights.load(net, path, DType.F32))
          .isInstanceOf(FormatException.class)
          .hasMessageContaining(path + ": weight 'proj.weight' holds NaN values");
      tensors.put("proj.weight", Tensor.of(new float[] {0, 1, 2, 3, 4, 5, 6, 1e5f}, 2, 4));
      SafetensorsWriter.write(path, tensors, Map.of());
      assertThatThrownBy(() -> Weights.load(net, path, DType.F16)) // 1e5 is over 65504
          .hasMessageContaining("holds infinite values (F16)");
      Weights.load(net, path, DType.BF16);
    }
  }

  @Test
  void guessesWhatAFileReallyHolds() throws IOException {
    Path path = folder.resolve("net.safetensors");
    try (Scope scope = Scope.open();
        Net net = new Net()) {
      Tensor one = Tensor.zeros(DType.F32, 1);
      SafetensorsWriter.write(
          path,
          Map.of(
              "time_embedding.linear_1.weight", one,
              "add_embedding.linear_1.weight", one,
              "up_blocks.0.resnets.0.norm1.weight", one),
          Map.of());
      assertThatThrownBy(() -> Weights.load(net, path, DType.F32))
          .hasMessageContaining(
              "the file holds: SDXL U-Net, the folder's config.json describes: Net");
    }
  }
}
