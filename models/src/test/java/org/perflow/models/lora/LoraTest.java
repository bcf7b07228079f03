package org.perflow.models.lora;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
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
    assertThat(
            LoraNames.parse("base_model.model.text_model.encoder.layers.0.mlp.fc1.lora_A.weight"))
        .isEqualTo(
            new LoraNames.Name("text_encoder", "encoder.layers.0.mlp.fc1", LoraNames.Role.DOWN));
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

  // ---------------------------------------------------------------- strength

  /** By the header of diffusers or peft's file beside it, as those libraries read them back. */
  @ParameterizedTest
  @CsvSource({
    "alpha.safetensors, alpha",
    "text.safetensors, text",
    "patterns.safetensors, patterns",
    "rslora.safetensors, rslora",
    "peft, peft",
    "peft-rslora/adapter_model.safetensors, peft-rslora",
  })
  void isAsStrongAsItWasTrained(String file, String expected) throws IOException {
    Path strength = LORA.resolve("strength");
    try (LoraFile lora = LoraFile.read(strength.resolve(file));
        SafetensorsFile changes =
            SafetensorsFile.open(strength.resolve(expected + ".expected.safetensors"));
        Scope scope = Scope.open()) {
      assertThat(lora.notes()).isEmpty();
      assertThat(lora.layers()).hasSize(changes.entries().size());
      for (LoraLayer layer : lora.layers()) {
        Tensor change = changes.read(layer.part() + "." + layer.module() + ".weight");
        double error = layer.change(change.shape()).sub(change).abs().max().item();
        assertThat(error / change.abs().max().item()).as(layer.module()).isLessThan(1e-6);
      }
    }
  }

  /** α/r of a layer of rank 2 in a file of these tensors, header and file beside. */
  private double scale(Map<String, Double> alphas, String header, String beside, String... name)
      throws IOException {
    Path file = temp.resolve(name.length == 0 ? "adapter_model.safetensors" : name[0]);
    Files.deleteIfExists(temp.resolve("adapter_config.json"));
    if (beside != null) {
      Files.writeString(temp.resolve("adapter_config.json"), beside.replace('\'', '"'));
    }
    try (Scope scope = Scope.open()) {
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      tensors.put("unet." + TO_Q + ".lora_A.weight", Tensor.full(1, 2, 4));
      tensors.put("unet." + TO_Q + ".lora_B.weight", Tensor.full(1, 4, 2));
      alphas.forEach((key, alpha) -> tensors.put("unet." + TO_Q + key, Tensor.full(alpha)));
      Map<String, String> metadata =
          header == null
              ? Map.of()
              : header.startsWith("ss_")
                  ? Map.of("ss_network_alpha", header.substring(3), "ss_network_dim", "2")
                  : Map.of("lora_adapter_metadata", header.replace('\'', '"'));
      SafetensorsWriter.write(file, tensors, metadata);
    }
    try (LoraFile lora = LoraFile.read(file)) {
      notes = lora.notes();
      return lora.layers().get(0).scale();
    }
  }

  private List<String> notes = List.of();

  @Test
  void theNearestWordOnStrengthCounts() throws IOException {
    String header = "{'unet.r': 2, 'unet.lora_alpha': 8, 'text_encoder.r': 64}";
    String beside = "{'r': 2, 'lora_alpha': 6, 'use_rslora': false, 'use_dora': false}";
    assertThat(scale(Map.of(".alpha", 3.0), header, beside)).isEqualTo(1.5);
    assertThat(scale(Map.of(".lora.alpha", 3.0), header, beside)).isEqualTo(1.5);
    assertThat(scale(Map.of(), header, beside)).isEqualTo(4);
    assertThat(scale(Map.of(), null, beside)).isEqualTo(3);
    assertThat(scale(Map.of(), null, null)).isEqualTo(1);
    assertThat(scale(Map.of(), "{'r': 2, 'lora_alpha': 8}", null)).isEqualTo(4); // by itself
    assertThat(scale(Map.of(), "{'text_encoder.r': 64}", null)).isEqualTo(1); // not of this part
    assertThat(scale(Map.of(), "{'r': 2, 'lora_alpha': 8, 'use_rslora': true}", null))
        .isCloseTo(8 / Math.sqrt(2), within(1e-12));
    String ranks = "{'r': 9, 'rank_pattern': {'.*attn1.to_q': 2}, 'alpha_pattern': {'to_q': 5}}";
    assertThat(scale(Map.of(), ranks, null)).isEqualTo(2.5);
    assertThat(notes).isEmpty();
  }

  @Test
  void whatIsNotUsedIsTold() throws IOException {
    assertThat(scale(Map.of(), "ss_1", null)).isEqualTo(1);
    assertThat(notes).singleElement().asString().contains("ss_network_alpha 1", "is not used");
    assertThat(scale(Map.of(), null, "{'r': 9}", "style.safetensors")).isEqualTo(1);
    assertThat(notes).singleElement().asString().contains("adapter_config.json", "is not used");
    assertThat(scale(Map.of(), null, "{'r': 2, 'fan_in_fan_out': true}")).isEqualTo(4);
    assertThat(notes).singleElement().asString().contains("fan_in_fan_out is not used");
    assertThat(scale(Map.of(".alpha", 0.0), null, null)).isZero();
    assertThat(notes).singleElement().asString().contains("does nothing");
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '"',
      value = {
        "{'r': 4} | factors of rank 2, but | says 4.0",
        "{'r': 2, 'lora_alpha': 'x'} | lora_alpha is \"x\" | expected a number",
        "{'r': 2, 'lora_alpha': NaN} | lora_alpha is \"NaN\" | expected a number", // as text
        "{'r': 2, 'alpha_pattern': {'to_q': null}} | alpha_pattern of to_q is null | a number",
        "{'r': 2, 'alpha_pattern': [1]} | alpha_pattern is [1] | an object of names",
        "{'r': 2, 'alpha_pattern': {'(': 1}} | alpha_pattern has '(' | no pattern",
        "{'r': 2, 'alpha_pattern': {'((\\\\w+)+)+!': 1}} | takes too long | to_q",
        "{'r': 2, 'use_dora': true} | use_dora is true | not built",
        "{'r': 2, 'use_rslora': 1} | use_rslora is 1 | true or false",
        "{'r': 2, 'layer_replication': [[0, 4]]} | layer_replication is [[0,4]] | not built",
        "{'r': 2, 'init_lora_weights': 'pissa_niter_4'} | pissa_niter_4 | the model's own weights",
        "{'r': 2, 'peft_type': 'LOHA'} | peft_type is LOHA | not built",
        "[1] | expected a JSON object | got [1]",
        "{'r': | Unexpected end-of-input | line 1",
      })
  void configsAreChecked(String config, String problem, String more) {
    assertThatThrownBy(() -> scale(Map.of(), null, config))
        .isInstanceOf(FormatException.class)
        .hasMessageContainingAll("adapter_config.json", problem, more);
    assertThatThrownBy(() -> scale(Map.of(), config, null))
        .isInstanceOf(FormatException.class)
        .hasMessageContainingAll("lora_adapter_metadata in its header", problem, more);
  }

  @Test
  void everyValueAndShapeIsChecked() throws IOException {
    try (Scope scope = Scope.open()) {
      Tensor down = Tensor.full(1, 2, 4);
      Tensor up = Tensor.full(1, 4, 2);
      Tensor bad = Tensor.of(new float[] {1, Float.NaN}).reshape(2, 1).mul(Tensor.full(1, 2, 4));
      Tensor one = Tensor.full(1);
      assertRefused(Map.of("lora_down.weight", bad, "lora_up.weight", up), "NaN or infinite");
      Tensor infinite = up.mul(Double.POSITIVE_INFINITY);
      assertRefused(Map.of("lora_down.weight", down, "lora_up.weight", infinite), "NaN or inf");
      assertRefused(Map.of("lora_down.weight", down, "lora_up.weight", down), "has factors");
      assertRefused(
          Map.of("lora_down.weight", Tensor.full(1, 0, 4), "lora_up.weight", Tensor.full(1, 4, 0)),
          "has factors");
      assertRefused(Map.of("lora_down.weight", one, "lora_up.weight", up), "a factor F32[]");
      Tensor whole = down.to(DType.I32);
      assertRefused(Map.of("lora_down.weight", whole, "lora_up.weight", up), "a floating type");
      for (Tensor alpha : List.of(Tensor.full(1, 2), Tensor.full(Double.NaN))) {
        assertRefused(
            Map.of("lora_down.weight", down, "lora_up.weight", up, "alpha", alpha), "an alpha of");
      }
      Map<String, Tensor> twice = new LinkedHashMap<>();
      for (String name : List.of("", "base_model.model.")) {
        twice.put(name + "unet." + TO_Q + ".lora_A.weight", down);
        twice.put(name + "unet." + TO_Q + ".lora_B.weight", up);
      }
      Path file = temp.resolve("twice.safetensors");
      SafetensorsWriter.write(file, twice, Map.of());
      assertThatThrownBy(() -> LoraFile.read(file))
          .isInstanceOf(FormatException.class)
          .hasMessageContainingAll("twice.safetensors: layer " + TO_Q, "is there twice");
    }
  }

  private void assertRefused(Map<String, Tensor> tensors, String problem) throws IOException {
    Map<String, Tensor> named = new LinkedHashMap<>();
    tensors.forEach((role, tensor) -> named.put("lora_unet_mid_to_q." + role, tensor));
    Path file = temp.resolve("bad.safetensors");
    SafetensorsWriter.write(file, named, Map.of());
    assertThatThrownBy(() -> LoraFile.read(file))
        .isInstanceOf(FormatException.class)
        .hasMessageContainingAll("bad.safetensors: layer mid_to_q of unet", problem);
  }

  /** Kohya's scripts once wrote both; diffusers takes the current ones. */
  @Test
  void namesOfTheOriginalCodeGiveWayToCurrentOnes() throws IOException {
    Path file = temp.resolve("both.safetensors");
    try (Scope scope = Scope.open()) {
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      for (String name : List.of("middle_block_1_proj_in", "mid_block_attentions_0_proj_in")) {
        tensors.put("lora_unet_" + name + ".lora_down.weight", Tensor.full(1, 2, 4));
        tensors.put("lora_unet_" + name + ".lora_up.weight", Tensor.full(1, 4, 2));
      }
      SafetensorsWriter.write(file, tensors, Map.of());
    }
    try (LoraFile lora = LoraFile.read(file)) {
      assertThat(lora.layers())
          .singleElement()
          .extracting(LoraLayer::module)
          .isEqualTo("mid_block_attentions_0_proj_in");
      assertThat(lora.notes()).singleElement().asString().contains("SDXL's original code");
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
              "lora_unet_middle_block_1_transformer_blocks_0_attn2_to_k")) {
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
          .hasMessageContaining("layer a of unet has no up factor");
    }
  }
}
