package org.perflow.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.io.Json;
import org.perflow.io.SafetensorsWriter;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

class CLIPTextModelTest {
  private static final String FILE = "modules/clip.safetensors";
  private static final Path FOLDER = Golden.SD15.resolve("text_encoder");

  @Test
  void equalsTransformers() throws IOException {
    try (var model = CLIPTextModel.load(FOLDER, DType.F32);
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      var output = model.forward(Golden.read(FILE, "ids"));
      Golden.assertClose(output.lastHiddenState(), Golden.read(FILE, "last_hidden_state"));
      Golden.assertClose(output.pooled(), Golden.read(FILE, "pooled"));
      assertThat(output.hiddenStates()).hasSize(4);
    }
  }

  @Test
  void aNamedEndTokenPoolsAtItsFirstPlace() throws IOException {
    ObjectNode json = (ObjectNode) Json.read(FOLDER.resolve("config.json"));
    json.put("eos_token_id", 3513);
    try (var legacy = CLIPTextModel.load(FOLDER, DType.F32);
        var model = new CLIPTextModel(ClipTextConfig.of(json));
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      model.copyFrom(legacy, DType.F32);
      Golden.assertClose(
          model.forward(Golden.read(FILE, "ids")).pooled(), Golden.read(FILE, "pooled"));
    }
  }

  @Test
  void laterTokensChangeNothingBefore() throws IOException {
    try (var model = CLIPTextModel.load(FOLDER, DType.F32);
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor ids = Golden.read(FILE, "ids");
      Tensor whole = model.forward(ids).lastHiddenState().narrow(1, 0, 5);
      Tensor start = model.forward(ids.narrow(1, 0, 5).contiguous()).lastHiddenState();
      assertThat(Golden.relativeError(start, whole)).isLessThan(1e-5);
    }
  }

  @Test
  void readsTheNamesOfOlderReleases(@TempDir Path folder) throws IOException {
    try (var model = CLIPTextModel.load(FOLDER, DType.F32);
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Map<String, Tensor> old = new LinkedHashMap<>();
      model.namedParameters().forEach((name, p) -> old.put("text_model." + name, p.value()));
      old.put("text_model.embeddings.position_ids", Tensor.arange(77).unsqueeze(0));
      SafetensorsWriter.write(folder.resolve("model.safetensors"), old, Map.of());
      Files.copy(FOLDER.resolve("config.json"), folder.resolve("config.json"));
      try (var reread = CLIPTextModel.load(folder, DType.F32)) {
        Golden.assertClose(
            reread.forward(Golden.read(FILE, "ids")).pooled(), Golden.read(FILE, "pooled"));
      }
    }
  }

  @Test
  void unbuiltConfigurationsAndLongTextsAreRefused() throws IOException {
    ObjectNode json = (ObjectNode) Json.read(FOLDER.resolve("config.json"));
    json.put("hidden_act", "relu");
    assertThatThrownBy(() -> ClipTextConfig.of(json)).hasMessageContaining("relu");
    try (var model = CLIPTextModel.load(FOLDER, DType.F32);
        Scope scope = Scope.open()) {
      assertThatThrownBy(() -> model.forward(Tensor.zeros(DType.I64, 1, 78)))
          .hasMessageContaining("[1, 78]")
          .hasMessageContaining("77");
    }
  }
}
