package org.perflow.cli;

import java.nio.file.Path;
import org.perflow.models.lora.AppliedLoras;

/** {@code --lora} as it is written: {@code style.safetensors} or {@code style.safetensors:0.8}. */
record LoraArgument(Path file, double weight) {
  static LoraArgument parse(String text) {
    int colon = text.lastIndexOf(':');
    String after = text.substring(colon + 1);
    if (colon > 0 && !after.contains("/") && !after.contains("\\")) {
      try {
        return new LoraArgument(Path.of(text.substring(0, colon)), Double.parseDouble(after));
      } catch (NumberFormatException e) {
        throw new IllegalArgumentException(
            "--lora %s: expected FILE or FILE:WEIGHT, such as style.safetensors:0.8"
                .formatted(text),
            e);
      }
    }
    return new LoraArgument(Path.of(text), 1);
  }

  AppliedLoras.Source source() {
    return new AppliedLoras.Source(file, weight);
  }

  @Override
  public String toString() {
    return file.getFileName() + ":" + weight;
  }
}
