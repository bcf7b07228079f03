package org.perflow.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.io.Json;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tape;
import org.perflow.tensor.Tensor;

class UNet2DConditionModelTest {
  private static UNet2DConditionModel sd15() throws IOException {
    return UNet2DConditionModel.load(Golden.SD15.resolve("unet"), DType.F32);
  }

  private static Tensor forward(UNet2DConditionModel unet, String file) {
    return forward(unet, file, Golden.read(file, "timestep"));
  }

  private static Tensor forward(UNet2DConditionModel unet, String file, Tensor timesteps) {
    return unet.forward(
        Golden.read(file, "sample"), timesteps, Golden.read(file, "encoder_hidden_states"));
  }

  @Test
  void equalsDiffusersOnStableDiffusion1() throws IOException {
    String file = "modules/unet_sd15.safetensors";
    try (var unet = sd15();
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Golden.assertClose(forward(unet, file), Golden.read(file, "output"));
      Tensor fractional = Tensor.of(new float[] {0.5f, 741.25f});
      Golden.assertClose(forward(unet, file, fractional), Golden.read(file, "output_fractional_t"));
    }
  }

  @Test
  void equalsDiffusersOnStableDiffusion2() throws IOException {
    String file = "modules/unet_sd21.safetensors";
    try (var unet = UNet2DConditionModel.load(Golden.ROOT.resolve("models/sd21-unet"), DType.F32);
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Golden.assertClose(forward(unet, file), Golden.read(file, "output"));
    }
  }

  /** The layer that LCM embeds its guidance with: absent, zero, and as diffusers has it. */
  @Test
  void equalsDiffusersWhereGuidanceIsEmbedded(@TempDir Path temp) throws IOException {
    String file = "modules/unet_told_guidance.safetensors";
    Tensor guidance = Golden.read(file, "guidance");
    try (var plain = sd15();
        var told = new UNet2DConditionModel(plain.config().withTimeCondProjDim(256));
        Rng rng = Rng.seeded(1);
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      told.initialise(rng, DType.F32);
      told.copySharedFrom(plain);
      float[] before = forward(plain, file).toFloatArray();
      assertThat(told(told, file, guidance).toFloatArray()).isEqualTo(before);

      var weights = told.namedParameters();
      Tensor w = weights.get("time_embedding.linear_1.weight").value().transpose(0, 1);
      weights
          .get("time_embedding.cond_proj.weight")
          .value()
          .copyInPlace(Tensor.cat(1, w, w.mul(-0.5))); // tools/golden_pipelines.py, told_guidance
      told.save(temp, DType.F32, Map.of());
      assertThat(Json.read(temp.resolve("config.json")).path("time_cond_proj_dim").asInt())
          .isEqualTo(256);
      try (var loaded = UNet2DConditionModel.load(temp, DType.F32)) {
        Tensor output = told(loaded, file, guidance);
        Golden.assertClose("told guidance", output, Golden.read(file, "output"));
        assertThat(Golden.relativeError(output, forward(plain, file))).isGreaterThan(0.01);
      }
    }
  }

  private static Tensor told(UNet2DConditionModel unet, String file, Tensor guidance) {
    return unet.forward(
        Golden.read(file, "sample"),
        Golden.read(file, "timestep"),
        Golden.read(file, "encoder_hidden_states"),
        null,
        guidance,
        null);
  }

  @Test
  void bfloat16FollowsTheInput() throws IOException {
    String file = "modules/unet_sd15.safetensors";
    try (var unet = sd15();
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor output =
          unet.forward(
              Golden.read(file, "sample").to(DType.BF16),
              Golden.read(file, "timestep"),
              Golden.read(file, "encoder_hidden_states"));
      assertThat(output.dtype()).isEqualTo(DType.BF16);
      assertThat(Golden.relativeError(output, Golden.read(file, "output"))).isBetween(1e-5, 0.05);
    }
  }

  @Test
  void gradientsReachEveryWeightAndSurviveRecomputation() throws IOException {
    String file = "modules/unet_sd15.safetensors";
    try (var unet = sd15()) {
      Map<String, float[]> plain = new HashMap<>();
      unet.namedParameters().values().forEach(p -> p.value().requiresGrad(true));
      try (Scope scope = Scope.open()) {
        forward(unet, file).square().mean().backward();
        unet.namedParameters()
            .forEach(
                (name, p) -> {
                  assertThat(p.value().grad().isFinite()).as(name).isTrue();
                  assertThat(p.value().grad().abs().max().item()).as(name).isPositive();
                  plain.put(name, p.value().grad().toFloatArray());
                  p.value().grad().zeroInPlace();
                });
      }
      try (Scope scope = Scope.open();
          Tape tape = Tape.record(Tape.Way.RECOMPUTED)) {
        tape.backward(forward(unet, file).square().mean());
        unet.namedParameters()
            .forEach(
                (name, p) -> {
                  Tensor expected = Tensor.of(plain.get(name), p.shape());
                  assertThat(Golden.relativeError(p.value().grad(), expected))
                      .as(name)
                      .isLessThan(1e-3);
                });
      }
    }
  }

  @Test
  void oddSizesComeBack() throws IOException {
    try (var unet = sd15();
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Rng rng = Rng.seeded(1);
      Tensor output =
          unet.forward(
              Tensor.randn(rng, 1, 4, 13, 10), Tensor.full(7.5, 1), Tensor.randn(rng, 1, 5, 32));
      assertThat(output.shape()).containsExactly(1, 4, 13, 10);
      assertThat(output.isFinite()).isTrue();
    }
  }

  @Test
  void memoryStaysFlat() throws IOException {
    String file = "modules/unet_sd15.safetensors";
    try (var unet = sd15()) {
      unet.namedParameters().values().forEach(p -> p.value().requiresGrad(true));
      long before = 0;
      for (int i = 0; i < 20; i++) {
        try (Scope scope = Scope.open()) {
          forward(unet, file).square().mean().backward();
        }
        if (i == 2) {
          before = Scope.liveObjects();
        }
      }
      assertThat(Scope.liveObjects()).isLessThanOrEqualTo(before);
    }
  }

  @Test
  void configRoundTripsAndRefusesWhatIsNotBuilt() throws IOException {
    ObjectNode json = (ObjectNode) Json.read(Golden.SD15.resolve("unet/config.json"));
    assertThat(UNetConfig.of(UNetConfig.of(json).toJson())).isEqualTo(UNetConfig.of(json));
    json.put("addition_embed_type", "image");
    assertThatThrownBy(() -> UNetConfig.of(json))
        .hasMessageContaining("addition_embed_type")
        .hasMessageContaining("image");
    json.putNull("addition_embed_type").putArray("layers_per_block").add(1).add(2).add(3);
    assertThatThrownBy(() -> UNetConfig.of(json)).hasMessageContaining("layers_per_block");
  }

  @Test
  void wrongShapesAreExplained() throws IOException {
    try (var unet = sd15();
        Scope scope = Scope.open()) {
      Tensor time = Tensor.full(1, 1);
      Tensor text = Tensor.zeros(DType.F32, 1, 77, 32);
      assertThatThrownBy(() -> unet.forward(Tensor.zeros(DType.F32, 1, 3, 16, 16), time, text))
          .hasMessageContaining("[1, 3, 16, 16]")
          .hasMessageContaining("[B, 4, H, W]");
      Tensor wide = Tensor.zeros(DType.F32, 1, 77, 768);
      assertThatThrownBy(() -> unet.forward(Tensor.zeros(DType.F32, 1, 4, 16, 16), time, wide))
          .hasMessageContaining("[1, L, 32]");
    }
  }
}
