package org.perflow.models.lora;

import java.util.Map;

/** Which Stable Diffusion a U-Net belongs to, judged by names and shapes of its weights alone. */
public final class UNetFamily {
  private UNetFamily() {}

  /** Such as {@code SD-1.x}, {@code SDXL} or {@code SD-2.x with 9 input channels}. */
  public static String of(Map<String, long[]> shapes) {
    long width =
        shapes.entrySet().stream()
            .filter(entry -> entry.getKey().endsWith("attn2.to_k.weight"))
            .mapToLong(entry -> entry.getValue()[1])
            .findFirst()
            .orElse(0);
    long[] first = shapes.get("conv_in.weight");
    if (width == 0 || first == null || first.length != 4) {
      return "no U-Net";
    }
    boolean pooled = shapes.containsKey("add_embedding.linear_1.weight");
    String family = ofTextWidth(width);
    if (pooled != (width == 2048)) {
      family = "a U-Net of text width " + width + (pooled ? " with pooled text" : "");
    }
    return first[1] == 4 ? family : family + " with " + first[1] + " input channels";
  }

  /** The same from the width of the text states that it attends to. */
  public static String ofTextWidth(long width) {
    return switch ((int) width) {
      case 768 -> "SD-1.x";
      case 1024 -> "SD-2.x";
      case 2048 -> "SDXL";
      default -> "a U-Net of text width " + width;
    };
  }
}
