package org.perflow.models.lora;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.perflow.io.FormatException;
import org.perflow.io.SafetensorsFile;
import org.perflow.io.SafetensorsWriter;
import org.perflow.models.CLIPTextModel;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.models.lora.AppliedLoras.Weighted;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Module;
import org.perflow.tensor.nn.Parameter;

class LoraTest {
  private static final Path GOLDEN = Path.of("src/test/resources/golden");
  private static final Path LORA = GOLDEN.resolve("lora");
  private static final Path SD15 = GOLDEN.resolve("models/sd15");
  private static final String TO_Q = "mid_block.attentions.0.transformer_blocks.0.attn1.to_q";

  @TempDir Path temp;

  private static UNet2DConditionModel unet() throws IOException {
    return UNet2DConditionModel.load(SD15.resolve("unet"), DType.F32);
  }

  private static Map<String, Module> parts(UNet2DConditionModel unet) {
    return Map.of("unet", unet);
  }

  private static float[] values(Module module, String name) {
    return module.namedParameters().get(name).value().toFloatArray();
  }

  @ParameterizedTest
  @ValueSource(strings = {"kohya", "peft"})
  void fusesAsDiffusersDoes(String names) throws IOException {
    try (UNet2DConditionModel unet = unet();
        UNet2DConditionModel before = unet();
        LoraFile lora = LoraFile.read(LORA.resolve(names + ".safetensors"));
        SafetensorsFile fused = SafetensorsFile.open(LORA.resolve("fused_changed.safetensors"));
        Scope scope = Scope.open()) {
      assertThat(lora.layers()).hasSize(fused.entries().size());
      AppliedLoras applied = AppliedLoras.fuse(parts(unet), List.of(new Weighted(lora, 0.8)));
      for (var entry : unet.namedParameters().entrySet()) {
        Tensor value = entry.getValue().value();
        if (fused.entries().containsKey(entry.getKey())) {
          Tensor expected = fused.read(entry.getKey());
          double error = value.sub(expected).abs().max().item() / expected.abs().max().item();
          assertThat(error).as(entry.getKey()).isLessThan(1e-6);
        } else {
          assertThat(value.toFloatArray()).isEqualTo(values(before, entry.getKey()));
        }
      }
      applied.close();
      for (String name : unet.namedParameters().keySet()) { // bit for bit
        assertThat(values(unet, name)).isEqualTo(values(before, name));
      }
    }
  }

  @Test
  void severalAddUpFusedOrApart() throws IOException {
    try (UNet2DConditionModel unet = unet();
        LoraFile one = LoraFile.read(LORA.resolve("kohya.safetensors"));
        LoraFile two = LoraFile.read(LORA.resolve("peft.safetensors"));
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        Rng rng = Rng.seeded(1)) {
      Tensor sample = Tensor.randn(rng, 1, 4, 16, 16);
      Tensor text = Tensor.randn(rng, 1, 8, 32);
      Tensor time = Tensor.of(new float[] {500});
      float[] plain = unet.forward(sample, time, text).toFloatArray();
      Tensor once;
      try (var applied = AppliedLoras.fuse(parts(unet), List.of(new Weighted(one, 0.5)))) {
        once = unet.forward(sample, time, text);
      }
      // both files hold the same LoRA: 0.8 - 0.3 of it
      var both = List.of(new Weighted(one, 0.8), new Weighted(two, -0.3));
      try (var applied = AppliedLoras.fuse(parts(unet), both)) {
        Tensor sum = unet.forward(sample, time, text);
        assertThat(sum.sub(once).abs().max().item()).isLessThan(1e-5);
      }
      long objects = Scope.liveObjects();
      try (var applied = AppliedLoras.attach(parts(unet), both);
          Scope inner = Scope.open()) {
        Tensor apart = unet.forward(sample, time, text);
        assertThat(apart.sub(once).abs().max().item()).isLessThan(1e-5);
        assertThatThrownBy(() -> AppliedLoras.attach(parts(unet), both))
            .hasMessageContaining("adapted already");
      }
      assertThat(Scope.liveObjects()).isLessThanOrEqualTo(objects + 2);
      assertThat(unet.forward(sample, time, text).toFloatArray()).isEqualTo(plain);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "lora_te_text_model_encoder_layers_1_self_attn_q_proj.lora_down.weight,"
        + "lora_te_text_model_encoder_layers_1_self_attn_q_proj.lora_up.weight",
    "text_encoder.text_model.encoder.layers.1.self_attn.q_proj.lora_A.weight,"
        + "text_encoder.text_model.encoder.layers.1.self_attn.q_proj.lora_B.weight",
    "text_encoder.text_model.encoder.layers.1.self_attn.q_proj.lora_linear_layer.down.weight,"
        + "text_encoder.text_model.encoder.layers.1.self_attn.q_proj.lora_linear_layer.up.weight",
    "text_encoder.text_model.encoder.layers.1.self_attn.to_q_lora.down.weight,"
        + "text_encoder.text_model.encoder.layers.1.self_attn.to_q_lora.up.weight"
  })
  void changesTheTextEncoder(String down, String up) throws IOException {
    Path file = temp.resolve("te.safetensors");
    String name = "encoder.layers.1.self_attn.q_proj.weight";
    try (CLIPTextModel text = CLIPTextModel.load(SD15.resolve("text_encoder"), DType.F32);
        Scope scope = Scope.open();
        Rng rng = Rng.seeded(2)) {
      Tensor weight = text.namedParameters().get(name).value();
      Tensor a = Tensor.randn(rng, 2, weight.size(1));
      Tensor b = Tensor.randn(rng, weight.size(0), 2);
      SafetensorsWriter.write(file, Map.of(down, a, up, b), Map.of());
      try (LoraFile lora = LoraFile.read(file);
          var applied =
              AppliedLoras.fuse(Map.of("text_encoder", text), List.of(new Weighted(lora, 1)))) {
        Tensor expected = weight.add(b.matmul(a));
        assertThat(text.namedParameters().get(name).value().sub(expected).abs().max().item())
            .isLessThan(1e-5);
      }
    }
  }

  @Test
  void readsNamesOfDiffusersBeforePeft() {
    assertThat(
            LoraNames.parse(
                "unet.mid_block.attentions.0.transformer_blocks.0.attn1.processor.to_out_lora.up.weight"))
        .isEqualTo(
            new LoraNames.Name(
                "unet",
                "mid_block.attentions.0.transformer_blocks.0.attn1.to_out.0",
                LoraNames.Role.UP));
    assertThat(LoraNames.parse("unet." + TO_Q + ".lora_A.default_0.weight"))
        .isEqualTo(new LoraNames.Name("unet", TO_Q, LoraNames.Role.DOWN));
    assertThat(LoraNames.parse("base_model.model.unet." + TO_Q + ".lora.down.weight"))
        .isEqualTo(new LoraNames.Name("unet", TO_Q, LoraNames.Role.DOWN));
    assertThat(LoraNames.parse("conv_in.weight")).isNull();
    assertThat(LoraNames.kohya("add_embedding.linear_2")).isEqualTo("lora_unet_label_emb_0_2");
    assertThat(LoraNames.kohya("conv_in")).isEqualTo("lora_unet_conv_in");
  }

  @ParameterizedTest
  @CsvSource({ // rows of the single-file checkpoints' own names
    "conv_in, input_blocks.0.0",
    "time_embedding.linear_2, time_embed.2",
    "down_blocks.0.resnets.1.conv1, input_blocks.2.0.in_layers.2",
    "down_blocks.0.downsamplers.0.conv, input_blocks.3.0.op",
    "down_blocks.1.attentions.0.transformer_blocks.0.attn1.to_q, "
        + "input_blocks.4.1.transformer_blocks.0.attn1.to_q",
    "mid_block.attentions.0.proj_in, middle_block.1.proj_in",
    "mid_block.resnets.1.time_emb_proj, middle_block.2.emb_layers.1",
    "up_blocks.2.resnets.1.conv_shortcut, output_blocks.7.0.skip_connection",
    "up_blocks.0.attentions.2.proj_out, output_blocks.2.1.proj_out",
  })
  void knowsTheOriginalNames(String module, String original) {
    assertThat(LoraNames.original(module, 2)).isEqualTo(original);
  }

  @Test
  void kohyasOriginalNamesOfSdxlAreFound() throws IOException {
    try (UNet2DConditionModel unet = unet()) { // one resnet a level here
      Map<String, Parameter> targets = LoraNames.targets(unet);
      Parameter upsampler = unet.namedParameters().get("up_blocks.0.upsamplers.0.conv.weight");
      assertThat(targets.get("output_blocks_1_1_conv")).isSameAs(upsampler);
      assertThat(targets.get("up_blocks_0_upsamplers_0_conv")).isSameAs(upsampler);
      assertThat(targets.get("input_blocks_1_1_transformer_blocks_0_ff_net_0_proj"))
          .isSameAs(
              unet.namedParameters()
                  .get("down_blocks.0.attentions.0.transformer_blocks.0.ff.net.0.proj.weight"));
    }
  }

  @Test
  void writesWhatItReads() throws IOException {
    try (UNet2DConditionModel unet = unet();
        Scope scope = Scope.open();
        Rng rng = Rng.seeded(3)) {
      List<LoraLayer> layers =
          List.of(
              layer(rng, TO_Q, 3, 1.5, new long[] {64, 64}),
              layer(rng, "mid_block.resnets.0.conv1", 2, 2, new long[] {64, 64, 3, 3}));
      for (LoraFile.Format format : LoraFile.Format.values()) {
        Path file = temp.resolve(format + ".safetensors");
        LoraFile.write(file, layers, format, DType.F32, Map.of("a", "b"));
        try (LoraFile read = LoraFile.read(file)) {
          assertThat(read.metadata()).containsEntry("a", "b");
          AppliedLoras.attach(parts(unet), List.of(new Weighted(read, 1))).close();
          for (LoraLayer layer : layers) {
            LoraLayer same =
                read.layers().stream()
                    .filter(l -> LoraNames.flat(l.module()).equals(LoraNames.flat(layer.module())))
                    .findFirst()
                    .orElseThrow();
            long[] shape = unet.namedParameters().get(layer.module() + ".weight").shape();
            assertThat(same.change(shape).sub(layer.change(shape)).abs().max().item())
                .isLessThan(1e-5);
          }
        }
      }
      try (SafetensorsFile peft = SafetensorsFile.open(temp.resolve("PEFT.safetensors"))) {
        assertThat(peft.entries().keySet())
            .contains("unet." + TO_Q + ".lora_A.weight", "unet." + TO_Q + ".lora_B.weight");
        assertThat(peft.entries().get("unet.mid_block.resnets.0.conv1.lora_A.weight").shape())
            .containsExactly(3, 64, 3, 3); // one rank throughout
      }
    }
  }

  private static LoraLayer layer(Rng rng, String module, long rank, double alpha, long[] weight) {
    long[] down = weight.clone();
    down[0] = rank;
    long[] up = weight.length == 2 ? new long[2] : new long[] {0, 0, 1, 1};
    up[0] = weight[0];
    up[1] = rank;
    return new LoraLayer("unet", module, Tensor.randn(rng, down), Tensor.randn(rng, up), alpha);
  }

  @Test
  void unknownLayersAreListedWithTheFamily() throws IOException {
    Path file = temp.resolve("xl.safetensors");
    try (UNet2DConditionModel unet = unet();
        Scope scope = Scope.open();
        Rng rng = Rng.seeded(4)) {
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      for (String name :
          List.of(
              "lora_unet_input_blocks_7_1_transformer_blocks_9_attn2_to_k",
              "lora_unet_mid_block_attentions_0_transformer_blocks_0_attn2_to_k")) {
        tensors.put(name + ".lora_down.weight", Tensor.randn(rng, 4, 2048));
        tensors.put(name + ".lora_up.weight", Tensor.randn(rng, 64, 4));
      }
      SafetensorsWriter.write(file, tensors, Map.of());
      float[] before = values(unet, TO_Q + ".weight");
      try (LoraFile lora = LoraFile.read(file)) {
        assertThatThrownBy(() -> AppliedLoras.fuse(parts(unet), List.of(new Weighted(lora, 1))))
            .isInstanceOf(IllegalArgumentException.class)
            .hasMessageContaining("xl.safetensors does not fit this model: 2 of its 2 layers")
            .hasMessageContaining("input_blocks_7_1_transformer_blocks_9_attn2_to_k")
            .hasMessageContaining("made for SDXL, the model has: SD-1.x U-Net");
      }
      assertThat(values(unet, TO_Q + ".weight")).isEqualTo(before);
    }
  }

  @Test
  void otherMethodsAndHalfLayersAreRefused() throws IOException {
    Path file = temp.resolve("other.safetensors");
    try (Scope scope = Scope.open()) {
      Tensor x = Tensor.full(1, 4, 4);
      SafetensorsWriter.write(file, Map.of("lora_unet_a.hada_w1_a", x), Map.of());
      assertThatThrownBy(() -> LoraFile.read(file))
          .isInstanceOf(FormatException.class)
          .hasMessageContaining("other.safetensors", "hada_w1_a")
          .hasMessageContaining("this is a LoHa");
      SafetensorsWriter.write(file, Map.of("lora_unet_a.lora_down.weight", x), Map.of());
      assertThatThrownBy(() -> LoraFile.read(file))
          .hasMessageContaining("layer a has no up factor");
    }
  }
}
