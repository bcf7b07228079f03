package org.perflow.models;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.List;
import org.perflow.io.Json;

/**
 * The shape of a {@link CLIPTextModel}, by transformers' keys in camel case. Immutable.
 *
 * @param hiddenAct {@code quick_gelu} (OpenAI) or {@code gelu} (OpenCLIP)
 * @param eosTokenId the token whose hidden state is the pooled output; 2, in configurations written
 *     before transformers 4.31, means the largest id of the sequence
 */
public record ClipTextConfig(
    int vocabSize,
    int hiddenSize,
    int intermediateSize,
    int numHiddenLayers,
    int numAttentionHeads,
    int maxPositionEmbeddings,
    String hiddenAct,
    double layerNormEps,
    int projectionDim,
    int bosTokenId,
    int eosTokenId,
    int padTokenId) {

  static final String PROJECTED = "CLIPTextModelWithProjection";
  private static final List<String> ARCHITECTURES = List.of("CLIPTextModel", PROJECTED);

  public ClipTextConfig {
    if (!List.of("quick_gelu", "gelu").contains(hiddenAct)) {
      throw new IllegalArgumentException(
          "hidden_act: got " + hiddenAct + ", supported: quick_gelu, gelu");
    }
    if (hiddenSize % numAttentionHeads != 0) {
      throw new IllegalArgumentException(
          "num_attention_heads "
              + numAttentionHeads
              + " does not divide hidden_size "
              + hiddenSize);
    }
  }

  /**
   * From transformers' {@code text_encoder/config.json}; extra keys are left alone.
   *
   * @throws IllegalArgumentException naming the key that asks for a part that is not built
   */
  public static ClipTextConfig of(JsonNode node) {
    ConfigJson json = new ConfigJson(node);
    json.only("model_type", "clip_text_model");
    json.only("attention_dropout", 0);
    for (String architecture : json.texts("architectures", List.of())) {
      if (!ARCHITECTURES.contains(architecture)) {
        throw new IllegalArgumentException(
            "architectures: got " + architecture + ", supported: " + ARCHITECTURES);
      }
    }
    return new ClipTextConfig(
        json.integer("vocab_size", 49408),
        json.integer("hidden_size", 512),
        json.integer("intermediate_size", 2048),
        json.integer("num_hidden_layers", 12),
        json.integer("num_attention_heads", 8),
        json.integer("max_position_embeddings", 77),
        json.text("hidden_act", "quick_gelu"),
        json.number("layer_norm_eps", 1e-5),
        json.integer("projection_dim", 512),
        json.integer("bos_token_id", 49406),
        json.integer("eos_token_id", 49407),
        json.integer("pad_token_id", 1));
  }

  /** The same with an embedding of that many rows. */
  ClipTextConfig withVocabSize(int rows) {
    return new ClipTextConfig(
        rows,
        hiddenSize,
        intermediateSize,
        numHiddenLayers,
        numAttentionHeads,
        maxPositionEmbeddings,
        hiddenAct,
        layerNormEps,
        projectionDim,
        bosTokenId,
        eosTokenId,
        padTokenId);
  }

  /** As transformers reads it. */
  public ObjectNode toJson() {
    return toJson("CLIPTextModel");
  }

  ObjectNode toJson(String architecture) {
    ObjectNode json = Json.MAPPER.createObjectNode();
    json.putArray("architectures").add(architecture);
    json.put("model_type", "clip_text_model");
    json.put("vocab_size", vocabSize);
    json.put("hidden_size", hiddenSize);
    json.put("intermediate_size", intermediateSize);
    json.put("num_hidden_layers", numHiddenLayers);
    json.put("num_attention_heads", numAttentionHeads);
    json.put("max_position_embeddings", maxPositionEmbeddings);
    json.put("hidden_act", hiddenAct);
    json.put("layer_norm_eps", layerNormEps);
    json.put("projection_dim", projectionDim);
    json.put("bos_token_id", bosTokenId);
    json.put("eos_token_id", eosTokenId);
    json.put("pad_token_id", padTokenId);
    return json;
  }
}
