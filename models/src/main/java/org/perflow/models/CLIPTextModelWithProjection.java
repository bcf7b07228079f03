package org.perflow.models;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.perflow.io.Json;
import org.perflow.io.NamedTensors;
import org.perflow.io.Weights;
import org.perflow.tensor.DType;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Linear;
import org.perflow.tensor.nn.Module;
import org.perflow.tensor.nn.Parameter.Init;

/**
 * A {@link CLIPTextModel} with CLIP's map into the space that it shares with pictures: Stable
 * Diffusion XL's second text encoder. Owns its weights until closed; forward passes may run on
 * several threads at once.
 */
public final class CLIPTextModelWithProjection extends Module {
  private static final String WEIGHTS = "model.safetensors";

  private final CLIPTextModel textModel;
  private final Linear textProjection;

  /** Without weights yet: initialise or load them. */
  public CLIPTextModelWithProjection(ClipTextConfig config) {
    int width = config.hiddenSize();
    textModel = child("text_model", new CLIPTextModel(config));
    Init init = Init.normal(1 / Math.sqrt(width));
    textProjection =
        child("text_projection", new Linear(width, config.projectionDim(), false, init));
  }

  /** Reads {@code config.json} and the weights, as {@code as}, from a model folder. */
  public static CLIPTextModelWithProjection load(Path folder, DType as) throws IOException {
    var model = new CLIPTextModelWithProjection(ConfigJson.read(folder, ClipTextConfig::of));
    model.loadWeights(folder, as);
    return model;
  }

  void loadWeights(Path folder, DType as) throws IOException {
    Weights.load(this, ConfigJson.weights(folder, WEIGHTS), as);
  }

  /** From {@code config.json} and weights that are somewhere else, such as in a single file. */
  public static CLIPTextModelWithProjection load(JsonNode config, NamedTensors weights, DType as)
      throws IOException {
    var model = new CLIPTextModelWithProjection(ClipTextConfig.of(config));
    Weights.load(model, weights, as);
    return model;
  }

  /** Writes {@code config.json} and the weights, as {@code as}, into {@code folder}. */
  public void save(Path folder, DType as, Map<String, String> metadata) throws IOException {
    Json.write(folder.resolve("config.json"), config().toJson(ClipTextConfig.PROJECTED));
    Weights.save(this, folder.resolve(WEIGHTS), as, metadata);
  }

  /** Its shape. */
  public ClipTextConfig config() {
    return textModel.config();
  }

  /** All but the projection. */
  CLIPTextModel textModel() {
    return textModel;
  }

  /**
   * What the model says about the whole text and about each token.
   *
   * @param textEmbeds [B, P], the pooled output, projected
   * @param hiddenStates embeddings and the output of every layer, [B, L, D] each, not normalised
   */
  public record Output(Tensor textEmbeds, List<Tensor> hiddenStates) {}

  /** Encodes ids [B, L] int64, computing in {@code type}. Owned by the caller's scope. */
  public Output forward(Tensor ids, DType type) {
    CLIPTextModel.Output output = textModel.forward(ids, type);
    return new Output(textProjection.forward(output.pooled()), output.hiddenStates());
  }
}
