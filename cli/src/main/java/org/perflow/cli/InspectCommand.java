package org.perflow.cli;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.Arrays;
import java.util.Map;
import org.perflow.delta.Delta;
import org.perflow.delta.Inspection;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code perflow inspect}. */
@Command(
    name = "inspect",
    description =
        "Says what a model folder or a weights file is: family, parameters, types, noise schedule,"
            + " provenance, largest tensors; of a delta also how much each weight changes.",
    footer = {
      "",
      "Examples:",
      "  perflow inspect models/emoji-64",
      "  perflow inspect v1-5-pruned-emaonly.safetensors --json"
    })
final class InspectCommand extends Verb {
  @Parameters(
      paramLabel = "MODEL",
      description =
          "A diffusers folder, one of its parts, or a weights file of any kind, or its name on the"
              + " hub.")
  String model;

  @Option(
      names = "--largest",
      defaultValue = "5",
      paramLabel = "N",
      description = "Tensors to list, largest first (default: ${DEFAULT-VALUE}).")
  int largest;

  @Override
  void run() throws Exception {
    Inspection contents = Inspection.of(fetch(model), largest);
    report(contents, text(contents));
  }

  private static String text(Inspection contents) {
    StringBuilder text = new StringBuilder();
    text.append(
        "%s: %s, %,d parameters"
            .formatted(contents.path(), contents.kind(), contents.parameters()));
    for (Inspection.Component part : contents.components()) {
      text.append(
          "%n  %-16s %s, %,d parameters, %s"
              .formatted(part.name(), part.kind(), part.parameters(), dtypes(part.dtypes())));
    }
    if (contents.scheduler() != null) {
      text.append("%nschedule: %s".formatted(schedule(contents.scheduler())));
    }
    if (contents.provenance() != null) {
      text.append("%nprovenance:".formatted());
      for (var property : contents.provenance().properties()) {
        text.append("%n  %-16s %s".formatted(property.getKey(), brief(property.getValue())));
      }
    }
    text.append("%nlargest tensors:".formatted());
    for (Inspection.Largest tensor : contents.largest()) {
      text.append(
          "%n  %,14d  %s%s  %s %s"
              .formatted(
                  tensor.elements(),
                  tensor.dtype(),
                  Arrays.toString(tensor.shape()),
                  tensor.component(),
                  tensor.name()));
    }
    if (contents.delta() != null) {
      text.append("%nchange of each weight:%n%12s %12s".formatted("norm", "largest"));
      for (Delta.Layer layer : contents.delta()) {
        text.append("%n%12.4g %12.4g  %s".formatted(layer.norm(), layer.largest(), layer.name()));
      }
    }
    return text.toString();
  }

  private static String dtypes(Map<String, Integer> counts) {
    return counts.size() == 1 ? counts.keySet().iterator().next() : counts.toString();
  }

  private static String schedule(JsonNode config) {
    return "%s, betas %s %s to %s over %d steps, predicts %s, spacing %s%s"
        .formatted(
            config.path("_class_name").asText("unnamed"),
            config.path("beta_schedule").asText("linear"),
            config.path("beta_start").asText("0.0001"),
            config.path("beta_end").asText("0.02"),
            config.path("num_train_timesteps").asInt(1000),
            config.path("prediction_type").asText("epsilon"),
            config.path("timestep_spacing").asText("leading"),
            config.path("rescale_betas_zero_snr").asBoolean() ? ", zero terminal SNR" : "");
  }

  private static String brief(JsonNode value) {
    String text = value.isTextual() ? value.asText() : value.toString();
    return text.length() <= 120 ? text : text.substring(0, 117) + "...";
  }
}
