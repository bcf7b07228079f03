package org.perflow.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

class WeightFilesTest {
  @TempDir Path folder;

  @ParameterizedTest
  @CsvSource({
    "net.fp16.safetensors net.bin net.safetensors, net.safetensors",
    "net.safetensors.index.json net-00001-of-00002.safetensors, net.safetensors.index.json",
    "net.safetensors.index.json net.safetensors, net.safetensors",
    "net.fp16.safetensors net.bin, net.bin", // as diffusers: a variant only where nothing else is
    "net.fp16.safetensors other.safetensors, net.fp16.safetensors",
    "net.fp16.safetensors net.non_ema.safetensors, net.fp16.safetensors",
    "net.safetensors.index.fp16.json net.fp16-00001-of-00002.safetensors, net.safetensors.index.fp16.json",
    "net.bin.index.json net-00001-of-00002.bin, net.bin.index.json",
    "net.fp16.bin, net.fp16.bin",
    "net.v0-1.safetensors, net.v0-1.safetensors", // as PeRFlow's authors publish their deltas
  })
  void findsWeightsInDiffusersOrder(String files, String expected) throws IOException {
    for (String file : files.split(" ")) {
      Files.createFile(folder.resolve(file));
    }
    assertThat(WeightFiles.find(folder, "net.safetensors")).isEqualTo(folder.resolve(expected));
  }

  @Test
  void saysWhatIsMissingAndWhatCannotBeChosen() throws IOException {
    assertThatThrownBy(() -> WeightFiles.find(folder, "model"))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining(folder.resolve("model.safetensors") + " is missing")
        .hasMessageContaining("pytorch_model.bin");
    Files.createFile(folder.resolve("pytorch_model.bin"));
    assertThat(WeightFiles.find(folder, "model")).hasFileName("pytorch_model.bin");
    Files.createFile(folder.resolve("net.a.safetensors"));
    Files.createFile(folder.resolve("net.b.safetensors"));
    assertThatThrownBy(() -> WeightFiles.find(folder, "net")).hasMessageContaining("[a, b]");
  }

  @Test
  void wrappersOfWholeModulesAreTakenOff() throws IOException {
    try (Scope scope = Scope.open()) {
      Tensor x = Tensor.arange(3);
      write("net.safetensors", Map.of("module._orig_mod.a.w", x, "module._orig_mod.b.w", x));
      try (NamedTensors weights = WeightFiles.open(folder.resolve("net.safetensors"))) {
        assertThat(weights.entries()).containsOnlyKeys("a.w", "b.w");
        assertThat(weights.read("a.w").toLongArray()).containsExactly(0, 1, 2);
      }
      write("net.safetensors", Map.of("module.a.w", x, "b.w", x));
      try (NamedTensors weights = WeightFiles.open(folder.resolve("net.safetensors"))) {
        assertThat(weights.entries()).containsOnlyKeys("module.a.w", "b.w");
      }
    }
  }

  @Test
  void readsShardsAsOne() throws IOException {
    try (Scope scope = Scope.open()) {
      write("net-1.safetensors", Map.of("a", Tensor.arange(3), "c", Tensor.arange(1)));
      write("net-2.safetensors", Map.of("b", Tensor.arange(5)));
      Path index = index("{\"a\": \"net-1.safetensors\", \"b\": \"net-2.safetensors\"}");
      try (NamedTensors shards = WeightFiles.open(index)) {
        assertThat(shards.entries()).containsOnlyKeys("a", "b");
        assertThat(shards.read("b").toLongArray()).containsExactly(0, 1, 2, 3, 4);
      }
    }
  }

  @Test
  void refusesShardsThatDoNotFitTheirIndex() throws IOException {
    try (Scope scope = Scope.open()) {
      write("net-1.safetensors", Map.of("a", Tensor.arange(3)));
    }
    Path absent = index("{\"a\": \"net-1.safetensors\", \"b\": \"net-2.safetensors\"}");
    assertThatThrownBy(() -> WeightFiles.open(absent))
        .hasMessageContaining("its part " + folder.resolve("net-2.safetensors") + " is missing");
    Path wrong = index("{\"b\": \"net-1.safetensors\"}");
    assertThatThrownBy(() -> WeightFiles.open(wrong)).hasMessageContaining("'b' is not in");
    Path outside = index("{\"a\": \"../net-1.safetensors\"}");
    assertThatThrownBy(() -> WeightFiles.open(outside))
        .hasMessageContaining("is no name of a file or folder beside it");
    Path itself = index("{\"a\": \"net.safetensors.index.json\"}");
    assertThatThrownBy(() -> WeightFiles.open(itself))
        .hasMessageContaining("is no file of weights");
    Path empty = index("{}");
    assertThatThrownBy(() -> WeightFiles.open(empty)).hasMessageContaining("weight_map");
  }

  @ParameterizedTest
  @CsvSource({
    "version https://git-lfs.github.com/spec/v1, git lfs pull",
    "<!DOCTYPE html><html>Please log in, web page",
    "hello, too few",
    "PK\u0003\u0004 and no more, damaged zip",
  })
  void saysWhatIsNoWeightsFile(String content, String message) throws IOException {
    Path file = Files.writeString(folder.resolve("model.safetensors"), content);
    assertThatThrownBy(() -> WeightFiles.open(file))
        .isInstanceOf(FormatException.class)
        .hasMessageStartingWith(file.toString())
        .hasMessageContaining(message);
  }

  private void write(String name, Map<String, Tensor> tensors) throws IOException {
    SafetensorsWriter.write(folder.resolve(name), tensors, Map.of());
  }

  private Path index(String map) throws IOException {
    return Files.writeString(
        folder.resolve("net.safetensors.index.json"),
        "{\"metadata\": {\"total_size\": 64}, \"weight_map\": " + map + "}");
  }
}
