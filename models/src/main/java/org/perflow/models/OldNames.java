package org.perflow.models;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.regex.Pattern;
import org.perflow.io.LazyTensor;
import org.perflow.io.NamedTensors;
import org.perflow.io.TensorView;

/** Names and shapes under which earlier releases of diffusers and transformers saved weights. */
final class OldNames {
  /** Begins the names of a text encoder, but in transformers 5 for encoders without projection. */
  static final String TEXT_MODEL = "text_model.";

  private static final Pattern ATTENTION =
      Pattern.compile("(.*\\.attentions\\.\\d+\\.)(query|key|value|proj_attn)(\\.\\w+)");
  private static final Map<String, String> RENAMED =
      Map.of("query", "to_q", "key", "to_k", "value", "to_v", "proj_attn", "to_out.0");

  private OldNames() {}

  /**
   * An autoencoder's weights as diffusers names them since 0.12; closing closes {@code weights}.
   */
  static NamedTensors vae(NamedTensors weights) {
    Map<String, LazyTensor> tensors = new LinkedHashMap<>();
    for (String name : weights.entries().keySet()) {
      var old = ATTENTION.matcher(name);
      String current =
          old.matches() ? old.group(1) + RENAMED.get(old.group(2)) + old.group(3) : name;
      tensors.put(current, matrix(current, LazyTensor.of(weights, name)));
    }
    return new TensorView(weights.toString(), tensors, weights.metadata(), weights);
  }

  /**
   * A weight of an autoencoder; those of its attention as matrices, where they were 1x1 kernels.
   */
  static LazyTensor matrix(String name, LazyTensor tensor) {
    long[] shape = tensor.shape();
    boolean kernel = shape.length == 4 && shape[2] == 1 && shape[3] == 1;
    return kernel && name.contains(".attentions.") ? tensor.reshape(shape[0], shape[1]) : tensor;
  }

  /** The name of a text encoder's weight with the prefix that all but the newest files have. */
  static String withTextModel(String name) {
    boolean bare =
        name.startsWith("embeddings.")
            || name.startsWith("encoder.")
            || name.startsWith("final_layer_norm.");
    return bare ? TEXT_MODEL + name : name;
  }
}
