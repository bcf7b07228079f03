package org.perflow.cli;

import org.perflow.hub.HubName;

/**
 * {@code --lora} as it is written: {@code style.safetensors} or {@code style.safetensors:0.8}; of
 * the hub {@code org/name:style.safetensors}, or with {@code :0.8} behind it.
 */
record LoraArgument(String file, double weight) {
  static LoraArgument parse(String text) {
    int colon = text.lastIndexOf(':');
    String after = text.substring(colon + 1);
    if (colon > 0 && !after.contains("/") && !after.contains("\\")) {
      double weight = number(after);
      if (Double.isFinite(weight)) {
        return new LoraArgument(text.substring(0, colon), weight);
      }
      if (HubName.parse(text).isEmpty()) {
        throw new IllegalArgumentException(
            "--lora %s: expected FILE or FILE:WEIGHT, such as style.safetensors:0.8"
                .formatted(text));
      }
    }
    return new LoraArgument(text, 1);
  }

  private static double number(String text) {
    try {
      return Double.parseDouble(text);
    } catch (NumberFormatException e) {
      return Double.NaN;
    }
  }

  /** Without the folders that it lies in. */
  @Override
  public String toString() {
    String name = file.substring(Math.max(file.lastIndexOf('/'), file.lastIndexOf('\\')) + 1);
    return (HubName.parse(file).isPresent() ? file : name) + ":" + weight;
  }
}
