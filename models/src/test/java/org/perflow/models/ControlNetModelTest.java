package org.perflow.models;

import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.perflow.io.Json;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

class ControlNetModelTest {
  private static final String FILE = "modules/controlnet_sd15.safetensors";
  private static final Path FOLDER = Golden.ROOT.resolve("models/controlnet-sd15");

  @Test
  void equalsDiffusers() throws IOException {
    try (var control = ControlNetModel.load(FOLDER, DType.F32);
        var unet = UNet2DConditionModel.load(Golden.SD15.resolve("unet"), DType.F32);
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor sample = Golden.read(FILE, "sample");
      Tensor time = Golden.read(FILE, "timestep");
      Tensor text = Golden.read(FILE, "encoder_hidden_states");
      Tensor picture = Golden.read(FILE, "condition");
      var residuals = control.forward(sample, time, text, picture, null).times(0.7); // as they
      for (int i = 0; i < residuals.down().size(); i++) {
        Golden.assertClose(
            "controlnet down " + i, residuals.down().get(i), Golden.read(FILE, "down." + i));
      }
      Golden.assertClose("controlnet mid", residuals.mid(), Golden.read(FILE, "mid"));
      Tensor expected = Golden.read(FILE, "unet_output");
      Golden.assertClose(
          "controlnet unet", unet.forward(sample, time, text, null, null, residuals), expected);
      var halves = residuals.times(0.5).plus(residuals.times(0.5));
      Golden.assertClose(
          "controlnet halves", unet.forward(sample, time, text, null, null, halves), expected);
      assertThatThrownBy(() -> control.forward(sample, time, text, picture.narrow(2, 0, 32), null))
          .hasMessageContaining("expected [B, 3, 64, 64]");
    }
  }

  @Test
  void otherArchitecturesAreRefused() throws IOException {
    ObjectNode json = (ObjectNode) Json.read(FOLDER.resolve("config.json"));
    json.put("global_pool_conditions", true);
    assertThatThrownBy(() -> ControlNetConfig.of(json)).hasMessageContaining("global_pool");
    json.put("_class_name", "T2IAdapter");
    assertThatThrownBy(() -> ControlNetConfig.of(json)).hasMessageContaining("T2IAdapter");
  }
}
