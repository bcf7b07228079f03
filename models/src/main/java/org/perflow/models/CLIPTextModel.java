package org.perflow.models;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.perflow.io.Json;
import org.perflow.io.NamedTensors;
import org.perflow.io.WeightFiles;
import org.perflow.io.Weights;
import org.perflow.tensor.DType;
import org.perflow.tensor.Functional;
import org.perflow.tensor.Tape;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Embedding;
import org.perflow.tensor.nn.LayerNorm;
import org.perflow.tensor.nn.Linear;
import org.perflow.tensor.nn.Module;
import org.perflow.tensor.nn.Parameter;
import org.perflow.tensor.nn.Parameter.Init;

/**
 * The text half of CLIP (Radford et al., arXiv 2103.00020): a causal transformer over tokens. Owns
 * its weights until closed; forward passes may run on several threads at once.
 */
public final class CLIPTextModel extends Module {
  private static final String WEIGHTS = "model.safetensors";

  private final ClipTextConfig config;
  private final Embedding tokenEmbedding;
  private final Embedding positionEmbedding;
  private final List<Layer> layers = new ArrayList<>();
  private final LayerNorm finalLayerNorm;
  private int addedRows;

  /** Without weights yet: initialise or load them. */
  public CLIPTextModel(ClipTextConfig config) {
    this.config = config;
    int width = config.hiddenSize();
    tokenEmbedding =
        child("embeddings.token_embedding", new Embedding(config.vocabSize(), width, 0.02));
    positionEmbedding =
        child(
            "embeddings.position_embedding",
            new Embedding(config.maxPositionEmbeddings(), width, 0.02));
    for (int i = 0; i < config.numHiddenLayers(); i++) {
      layers.add(child("encoder.layers." + i, new Layer(config)));
    }
    finalLayerNorm = child("final_layer_norm", new LayerNorm(width, config.layerNormEps()));
  }

  /**
   * Reads {@code config.json} and the weights, as {@code as}, from a model folder. Weight names may
   * begin with {@code text_model.}, as transformers before 5 wrote them.
   */
  public static CLIPTextModel load(Path folder, DType as) throws IOException {
    var model = new CLIPTextModel(ConfigJson.read(folder, ClipTextConfig::of));
    model.loadWeights(folder, as);
    return model;
  }

  void loadWeights(Path folder, DType as) throws IOException {
    try (NamedTensors weights = WeightFiles.open(ConfigJson.weights(folder, WEIGHTS))) {
      loadWeights(weights, as);
    }
  }

  /** From {@code config.json} and weights that are somewhere else, such as in a single file. */
  public static CLIPTextModel load(JsonNode config, NamedTensors weights, DType as)
      throws IOException {
    var model = new CLIPTextModel(ClipTextConfig.of(config));
    model.loadWeights(weights, as);
    return model;
  }

  void loadWeights(NamedTensors weights, DType as) throws IOException {
    boolean prefixed = weights.entries().containsKey("text_model.final_layer_norm.weight");
    Weights.load(prefixed ? new Prefixed(this) : this, weights, as);
  }

  /** The same weights under the names of transformers before 5. */
  private static final class Prefixed extends Module {
    Prefixed(CLIPTextModel model) {
      child("text_model", model);
    }
  }

  /** Writes {@code config.json} and the weights, as {@code as}, into {@code folder}. */
  public void save(Path folder, DType as, Map<String, String> metadata) throws IOException {
    Json.write(folder.resolve("config.json"), config().toJson());
    Weights.save(this, folder.resolve(WEIGHTS), as, metadata);
  }

  /** Its shape; {@code vocab_size} counts the rows that textual inversions add, while they are. */
  public ClipTextConfig config() {
    return config.withVocabSize(config.vocabSize() + addedRows);
  }

  /**
   * Reads {@code rows} [n, D] behind its own rows of the token embedding until {@link #restore}.
   *
   * @return the larger embedding, owned by the caller's scope; it must live until then
   */
  Tensor extend(Tensor... rows) {
    Parameter embedding = tokenEmbedding.namedParameters().get("weight");
    Tensor own = embedding.value();
    List<Tensor> parts = new ArrayList<>(List.of(own));
    for (Tensor part : rows) {
      parts.add(part.to(own.dtype()).to(own.device()));
    }
    Tensor larger = Tensor.cat(0, parts.toArray(Tensor[]::new));
    embedding.adapt(stored -> larger);
    addedRows = Math.toIntExact(larger.size(0)) - config.vocabSize();
    return larger;
  }

  /** Undoes {@link #extend}. */
  void restore() {
    tokenEmbedding.namedParameters().get("weight").restore();
    addedRows = 0;
  }

  /**
   * What the model says about each token and about the whole text.
   *
   * @param lastHiddenState [B, L, D], normalised: what Stable Diffusion attends to
   * @param pooled [B, D], the last hidden state of the token that ends the text
   * @param hiddenStates embeddings and the output of every layer, [B, L, D] each, not normalised
   */
  public record Output(Tensor lastHiddenState, Tensor pooled, List<Tensor> hiddenStates) {}

  /** Encodes ids [B, L] int64 in the element type of the weights. */
  public Output forward(Tensor ids) {
    return forward(ids, tokenEmbedding.namedParameters().get("weight").value().dtype());
  }

  /**
   * Encodes ids [B, L] int64, computing in {@code type}, where the weights are. Owned by the
   * caller's scope.
   */
  public Output forward(Tensor tokens, DType type) {
    Tensor ids = tokens.to(device());
    long length = ids.size(-1);
    if (ids.dim() != 2 || ids.dtype() != DType.I64 || length > config.maxPositionEmbeddings()) {
      throw new IllegalArgumentException(
          "token ids %s, expected int64 [B, L] with L up to %d (max_position_embeddings)"
              .formatted(ids, config.maxPositionEmbeddings()));
    }
    Tensor positions = positionEmbedding.forward(Tensor.arange(length).to(ids.device())); // [L, D]
    Tensor x = tokenEmbedding.forward(ids).add(positions).to(type); // [B, L, D]
    List<Tensor> hiddenStates = new ArrayList<>(List.of(x));
    for (Layer layer : layers) {
      x = layer.forward(x);
      hiddenStates.add(x);
    }
    Tensor last = finalLayerNorm.forward(x);
    return new Output(last, pool(last, ids), List.copyOf(hiddenStates));
  }

  /** The norm that the last hidden state has and the others lack, [B, L, D] to the same. */
  public Tensor normalise(Tensor hiddenState) {
    return finalLayerNorm.forward(hiddenState);
  }

  private Tensor pool(Tensor last, Tensor ids) {
    long batch = ids.size(0);
    long length = ids.size(1);
    Tensor end =
        config.eosTokenId() == 2
            ? ids.argmax(-1)
            : ids.eq(config.eosTokenId()).to(DType.I32).argmax(-1); // the first of equals
    Tensor rows = Tensor.arange(batch).mul(length).to(DType.I64).to(last.device()).add(end);
    return last.reshape(batch * length, -1).indexSelect(0, rows);
  }

  /** Causal self-attention and feed-forward, each behind a norm, each added. */
  private static final class Layer extends Module {
    private final LayerNorm layerNorm1;
    private final Linear qProj;
    private final Linear kProj;
    private final Linear vProj;
    private final Linear outProj;
    private final LayerNorm layerNorm2;
    private final Linear fc1;
    private final Linear fc2;
    private final int heads;
    private final boolean quick;

    Layer(ClipTextConfig config) {
      int width = config.hiddenSize();
      double eps = config.layerNormEps();
      double perWidth = 1 / Math.sqrt(width); // initial deviations as transformers has them
      Init into = Init.normal(perWidth / Math.sqrt(2.0 * config.numHiddenLayers()));
      Init out = Init.normal(perWidth);
      layerNorm1 = child("layer_norm1", new LayerNorm(width, eps));
      qProj = child("self_attn.q_proj", new Linear(width, width, true, into));
      kProj = child("self_attn.k_proj", new Linear(width, width, true, into));
      vProj = child("self_attn.v_proj", new Linear(width, width, true, into));
      outProj = child("self_attn.out_proj", new Linear(width, width, true, out));
      layerNorm2 = child("layer_norm2", new LayerNorm(width, eps));
      Init wide = Init.normal(perWidth / Math.sqrt(2));
      fc1 = child("mlp.fc1", new Linear(width, config.intermediateSize(), true, wide));
      fc2 = child("mlp.fc2", new Linear(config.intermediateSize(), width, true, into));
      heads = config.numAttentionHeads();
      quick = config.hiddenAct().equals("quick_gelu");
    }

    /** A block of {@link Tape}: a batch of captions through 32 layers would keep gigabytes. */
    Tensor forward(Tensor x) {
      return Tape.block(inputs -> compute(inputs.get(0)), x);
    }

    private Tensor compute(Tensor input) {
      Tensor x = input;
      Tensor h = layerNorm1.forward(x);
      Tensor q = split(qProj.forward(h));
      Tensor k = split(kProj.forward(h));
      Tensor v = split(vProj.forward(h));
      h = Functional.attention(q, k, v, true).transpose(1, 2).reshape(x.shape());
      x = x.add(outProj.forward(h));
      h = fc1.forward(layerNorm2.forward(x));
      h = quick ? Functional.quickGelu(h) : Functional.gelu(h);
      return x.add(fc2.forward(h));
    }

    private Tensor split(Tensor x) { // [B, L, D] to [B, heads, L, D / heads]
      return x.reshape(x.size(0), x.size(1), heads, x.size(2) / heads).transpose(1, 2);
    }
  }
}
