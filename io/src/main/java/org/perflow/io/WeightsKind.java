package org.perflow.io;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.perflow.tensor.nn.Module;

/**
 * What published weights are, told by their names and shapes alone. Immutable.
 *
 * @param part which network, or networks, of a family
 * @param family null where the part is the same in several
 */
public record WeightsKind(Part part, @Nullable Family family) {
  /** Under this prefix single-file checkpoints hold their U-Net. */
  private static final String LDM_UNET = "model.diffusion_model.";

  /** Families of diffusion models; those after SDXL are told apart only to be refused by name. */
  public enum Family {
    SD1("SD-1.x"),
    SD2("SD-2.x"),
    SDXL("SDXL"),
    SDXL_REFINER("SDXL refiner"),
    PLAYGROUND("SDXL of EDM's kind with latent statistics (such as Playground v2.5)"),
    COSXL("SDXL of EDM's kind with v-prediction (such as CosXL)"),
    SD3("SD-3"),
    FLUX("FLUX");

    private final String label;

    Family(String label) {
      this.label = label;
    }

    /** As people write it. */
    public String label() {
      return label;
    }

    /** By the width of the text states that its U-Net attends to; null where none has it. */
    public static @Nullable Family ofTextWidth(long width) {
      return switch ((int) width) {
        case 768 -> SD1;
        case 1024 -> SD2;
        case 2048 -> SDXL;
        default -> null;
      };
    }
  }

  /** Networks; {@code CHECKPOINT} is all of a model in one file under its original (LDM) names. */
  public enum Part {
    CHECKPOINT("single-file checkpoint"),
    UNET("U-Net"),
    INPAINTING_UNET("inpainting U-Net (9 input channels)"),
    VAE("Stable Diffusion autoencoder"),
    TINY_VAE("tiny autoencoder"),
    CONTROLNET("ControlNet"),
    CLIP_L("CLIP ViT-L text encoder (SD-1.x, SDXL's first)"),
    OPENCLIP_H("OpenCLIP ViT-H text encoder (SD-2.x)"),
    OPENCLIP_BIGG("OpenCLIP bigG text encoder (SDXL's second)"),
    TEXT_ENCODER("CLIP text encoder"),
    AVERAGES("averaged weights alone (EMA, model_ema.*) of a single-file checkpoint"),
    LORA("LoRA");

    private final String label;

    Part(String label) {
      this.label = label;
    }
  }

  /** Such as "SDXL U-Net". */
  public String label() {
    return family == null ? part.label : family.label + " " + part.label;
  }

  /** What {@code weights} are, where they are known. */
  public static Optional<WeightsKind> of(NamedTensors weights) {
    Map<String, long[]> shapes = new LinkedHashMap<>();
    weights.entries().forEach((name, entry) -> shapes.put(name, entry.shape()));
    return Optional.ofNullable(of(shapes));
  }

  /** What {@code module} is, where it is known. */
  public static Optional<WeightsKind> of(Module module) {
    Map<String, long[]> shapes = new LinkedHashMap<>();
    module.namedParameters().forEach((name, parameter) -> shapes.put(name, parameter.shape()));
    return Optional.ofNullable(of(shapes));
  }

  private static @Nullable WeightsKind of(Map<String, long[]> shapes) {
    Set<String> names = shapes.keySet();
    if (any(names, LDM_UNET) || any(names, "double_blocks.") || any(names, "joint_blocks.")) {
      return new WeightsKind(Part.CHECKPOINT, ldmFamily(shapes));
    }
    if (any(names, "model_ema.")) {
      return new WeightsKind(Part.AVERAGES, null);
    }
    if (names.stream().anyMatch(WeightsKind::isLora)) {
      return new WeightsKind(Part.LORA, null);
    }
    if (any(names, "controlnet_cond_embedding.") || any(names, "control_model.")) {
      return new WeightsKind(Part.CONTROLNET, unetFamily(shapes));
    }
    if (any(names, "up_blocks.") && names.contains("time_embedding.linear_1.weight")) {
      boolean masked = size(shapes, "conv_in.weight", 1) == 9;
      return new WeightsKind(masked ? Part.INPAINTING_UNET : Part.UNET, unetFamily(shapes));
    }
    if (has(names, "encoder.mid_block.") || has(names, "encoder.mid.block_1.")) {
      return new WeightsKind(Part.VAE, null);
    }
    if (names.contains("decoder.layers.0.weight") && names.contains("encoder.layers.0.weight")) {
      return new WeightsKind(Part.TINY_VAE, null);
    }
    return textEncoder(shapes);
  }

  private static boolean isLora(String name) {
    return name.contains(".lora_down.")
        || name.contains(".lora.down.")
        || name.contains(".lora_A.")
        || name.contains("lora_linear_layer.");
  }

  private static boolean any(Set<String> names, String prefix) {
    return names.stream().anyMatch(name -> name.startsWith(prefix));
  }

  private static boolean has(Set<String> names, String part) {
    return names.stream().anyMatch(name -> name.contains(part));
  }

  private static @Nullable Family ldmFamily(Map<String, long[]> shapes) {
    Set<String> names = shapes.keySet();
    if (has(names, "double_blocks.")) {
      return Family.FLUX;
    }
    if (has(names, "joint_blocks.")) {
      return Family.SD3;
    }
    if (any(names, "conditioner.embedders.0.model.transformer.")) {
      return Family.SDXL_REFINER; // the base has OpenAI's CLIP first
    }
    if (any(names, "edm_vpred.")) { // its range of noise levels
      return Family.COSXL;
    }
    if (any(names, "edm_")) { // mean and deviation of its latents
      return Family.PLAYGROUND;
    }
    if (names.contains(LDM_UNET + "label_emb.0.0.weight")) {
      return Family.SDXL;
    }
    return byProjection(shapes);
  }

  private static @Nullable Family unetFamily(Map<String, long[]> shapes) {
    return shapes.containsKey("add_embedding.linear_1.weight") ? Family.SDXL : byProjection(shapes);
  }

  /** SD-1.x enters its transformers by 1x1 convolutions, SD-2.x by linear layers. */
  private static @Nullable Family byProjection(Map<String, long[]> shapes) {
    for (var entry : shapes.entrySet()) {
      if (entry.getKey().endsWith("1.proj_in.weight") // LDM: input_blocks.1.1.
          || entry.getKey().endsWith("attentions.0.proj_in.weight")) {
        return entry.getValue().length == 4 ? Family.SD1 : Family.SD2;
      }
    }
    return null;
  }

  private static @Nullable WeightsKind textEncoder(Map<String, long[]> shapes) {
    for (String name : shapes.keySet()) {
      if (name.endsWith("token_embedding.weight")) {
        return new WeightsKind(
            switch ((int) size(shapes, name, 1)) {
              case 768 -> Part.CLIP_L;
              case 1024 -> Part.OPENCLIP_H;
              case 1280 -> Part.OPENCLIP_BIGG;
              default -> Part.TEXT_ENCODER;
            },
            null);
      }
    }
    return null;
  }

  private static long size(Map<String, long[]> shapes, String name, int dim) {
    long[] shape = shapes.get(name);
    return shape == null || dim >= shape.length ? -1 : shape[dim];
  }
}
