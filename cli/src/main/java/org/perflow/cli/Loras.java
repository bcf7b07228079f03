package org.perflow.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.perflow.models.DiffusionModel;
import org.perflow.models.SchedulerConfig;
import org.perflow.models.lora.AppliedLoras;
import org.perflow.models.lora.AppliedLoras.Weighted;
import org.perflow.models.lora.LoraFile;

/** The LoRAs named on a command line, in a model's weights until closed. */
final class Loras implements AutoCloseable {
  /** One as it is written: {@code style.safetensors} or {@code style.safetensors:0.8}. */
  record Argument(Path file, double weight) {
    static Argument parse(String text) {
      int colon = text.lastIndexOf(':');
      String after = text.substring(colon + 1);
      if (colon > 0 && !after.contains("/") && !after.contains("\\")) {
        try {
          return new Argument(Path.of(text.substring(0, colon)), Double.parseDouble(after));
        } catch (NumberFormatException e) {
          throw new IllegalArgumentException(
              "--lora %s: expected FILE or FILE:WEIGHT, such as style.safetensors:0.8"
                  .formatted(text),
              e);
        }
      }
      return new Argument(Path.of(text), 1);
    }

    @Override
    public String toString() {
      return file.getFileName() + ":" + weight;
    }
  }

  private final AppliedLoras applied;
  private final @Nullable ObjectNode scheduler;

  private Loras(AppliedLoras applied, @Nullable ObjectNode scheduler) {
    this.applied = applied;
    this.scheduler = scheduler;
  }

  /** Fuses them into {@code model}; close before the model. */
  static Loras fuse(DiffusionModel model, List<String> texts) throws IOException {
    List<Weighted> loras = new ArrayList<>();
    try {
      ObjectNode scheduler = null;
      for (Argument argument : texts.stream().map(Argument::parse).toList()) {
        LoraFile lora = LoraFile.read(argument.file());
        loras.add(new Weighted(lora, argument.weight()));
        ObjectNode own = lora.scheduler();
        if (own != null && SchedulerConfig.isStudents(own)) {
          scheduler = own;
        }
      }
      return new Loras(AppliedLoras.fuse(AppliedLoras.parts(model), loras), scheduler);
    } finally {
      loras.forEach(weighted -> weighted.lora().close());
    }
  }

  /** The scheduler config of an accelerator among them, null where there is none. */
  @Nullable ObjectNode scheduler() {
    return scheduler;
  }

  @Override
  public void close() {
    applied.close();
  }
}
