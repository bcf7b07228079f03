package org.perflow.models.lora;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.io.FormatException;
import org.perflow.io.SafetensorsWriter;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.tensor.DType;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * LoRAs with names, shapes, values and configs made at random, from a seed: each is added to a
 * model or refused by name.
 */
class LoraFuzzTest {
  private static final List<String> LAYERS =
      List.of(
          "unet.mid_block.attentions.0.transformer_blocks.0.attn1.to_q",
          "unet.mid_block.resnets.0.conv1",
          "lora_unet_mid_block_attentions_0_proj_in",
          "lora_unet_middle_block_1_proj_in",
          "base_model.model.mid_block.attentions.0.transformer_blocks.0.attn1.to_k",
          "text_encoder.text_model.encoder.layers.0.self_attn.q_proj",
          "nothing");
  private static final List<String> ROLES =
      List.of(
          ".lora_A.weight",
          ".lora_B.weight",
          ".lora_down.weight",
          ".lora_up.weight",
          ".lora.down.weight",
          ".lora.up.weight",
          ".alpha",
          ".lora.alpha",
          ".lora_A.style.weight",
          ".dora_scale",
          ".lora_B.bias",
          "");
  private static final List<String> CONFIGS =
      List.of(
          "{\"r\": 2, \"lora_alpha\": 4}",
          "{\"r\": 4, \"use_rslora\": true}",
          "{\"r\": 2, \"alpha_pattern\": {\"to_q\": 3, \"(a+)+b\": 1, \"(\": 2}}",
          "{\"unet.r\": 2, \"unet.lora_alpha\": 1e300, \"text_encoder.r\": 4}",
          "{\"r\": 2, \"rank_pattern\": {\".*\": 4}}",
          "{\"r\": -2}",
          "[]",
          "{");

  @TempDir Path folder;

  private final Random random = new Random(20);

  private <T> T any(List<T> list) {
    return list.get(random.nextInt(list.size()));
  }

  private Tensor tensor() {
    long[] sizes = {0, 1, 2, 2, 2, 4, 64, 64, 64};
    long[] shape = new long[random.nextInt(10) < 7 ? 2 : random.nextInt(6)];
    for (int i = 0; i < shape.length; i++) {
      shape[i] = sizes[random.nextInt(sizes.length)];
    }
    if (shape.length > 3) {
      shape = new long[] {shape[0], shape[1], 3, 3};
    }
    double value = any(List.of(0.5, 1.0, -2.0, 1.0, 1.0, Double.NaN, 1e30, 0.0));
    return Tensor.full(value, shape).to(any(List.of(DType.F32, DType.F32, DType.F16, DType.I32)));
  }

  private void loras(int count) throws IOException {
    Path sd15 = Path.of("src/test/resources/golden/models/sd15/unet");
    int read = 0;
    try (UNet2DConditionModel unet = UNet2DConditionModel.load(sd15, DType.F32)) {
      for (int i = 0; i < count; i++) {
        read += isRead(unet) ? 1 : 0;
      }
    }
    assertThat(read).isLessThan(count);
  }

  private boolean isRead(UNet2DConditionModel unet) throws IOException {
    Path file = folder.resolve("adapter_model.safetensors");
    List<String> names = new ArrayList<>();
    try (Scope scope = Scope.open()) {
      Map<String, Tensor> tensors = new TreeMap<>();
      for (int i = random.nextInt(3); i >= 0; i--) {
        String layer = any(LAYERS);
        int kind = 2 * random.nextInt(3);
        boolean whole = random.nextInt(4) > 0;
        tensors.put(layer + ROLES.get(kind), whole ? Tensor.full(1, 2, 64) : tensor());
        tensors.put(layer + ROLES.get(kind + 1), whole ? Tensor.full(1, 64, 2) : tensor());
        if (random.nextInt(3) == 0) {
          tensors.put(layer + any(ROLES), tensor());
        }
      }
      names.addAll(tensors.keySet());
      Map<String, String> header =
          random.nextInt(3) == 0 ? Map.of("lora_adapter_metadata", any(CONFIGS)) : Map.of();
      Files.deleteIfExists(folder.resolve("adapter_config.json"));
      if (random.nextInt(3) == 0) {
        Files.writeString(folder.resolve("adapter_config.json"), any(CONFIGS));
      }
      SafetensorsWriter.write(file, tensors, header);
    }
    try (LoraFile lora = LoraFile.read(file);
        AppliedLoras applied =
            AppliedLoras.fuse(Map.of("unet", unet), List.of(new AppliedLoras.Weighted(lora, 1)))) {
      return true;
    } catch (FormatException e) {
      assertThat(e.getMessage()).as("%s", names).startsWith(folder.toString());
      return false;
    } catch (IllegalArgumentException e) { // of a model that it does not fit
      assertThat(e.getMessage()).as("%s", names).contains("adapter_model.safetensors");
      return false;
    }
  }

  @Test
  void lorasAreAddedOrRefused() throws IOException {
    loras(300);
  }

  @Tag("slow")
  @Test
  void manyLorasAreAddedOrRefused() throws IOException {
    loras(20_000);
  }
}
