package org.perflow.models;

import com.fasterxml.jackson.databind.JsonNode;
import java.util.HashMap;
import java.util.Map;

/**
 * What the numbers in configurations may be, of model parts and of samplers, by their key: wide
 * enough for anything that has been published, and too narrow for a number that would divide by
 * zero, never end or fill the memory. Every number is looked up here when it is read.
 */
final class ConfigRanges {
  /** Key, least and most, both allowed. */
  private static final String TABLE =
      """
      sample_size                             1         4096
      in_channels                             1        16384
      out_channels                            1        16384
      latent_channels                         1         1024
      block_out_channels                      1        16384
      layers_per_block                        1           32
      transformer_layers_per_block            0           64
      attention_head_dim                      1         1024
      cross_attention_dim                     1        65536
      norm_num_groups                         1         1024
      norm_eps                                1e-12      0.1
      freq_shift                              0            1
      addition_time_embed_dim                 0        65536
      projection_class_embeddings_input_dim   0      1000000
      time_cond_proj_dim                      0        65536
      scaling_factor                          1e-6       1e6
      shift_factor                           -1e6        1e6
      conditioning_channels                   1         1024
      conditioning_embedding_out_channels     1        16384
      encoder_block_out_channels              1        16384
      decoder_block_out_channels              1        16384
      num_encoder_blocks                      1           32
      num_decoder_blocks                      1           32
      vocab_size                              1      1000000
      hidden_size                             1        65536
      intermediate_size                       1      1000000
      num_hidden_layers                       1          256
      num_attention_heads                     1         1024
      max_position_embeddings                 2       100000
      layer_norm_eps                          1e-12      0.1
      projection_dim                          1        65536
      bos_token_id                            0      1000000
      eos_token_id                            0      1000000
      pad_token_id                           -1      1000000
      num_train_timesteps                     1       100000
      beta_start                              1e-12    0.999
      beta_end                                1e-12    0.999
      trained_betas                           0            1
      steps_offset                            0         1000
      eta                                     0            1
      clip_sample_range                       1e-6       1e6
      sample_max_value                        1e-6       1e6
      dynamic_thresholding_ratio              0            1
      solver_order                            1            4
      disable_corrector                       0       100000
      lambda_min_clipped                     -Infinity  1000
      flow_shift                              1e-6      1000
      shift                                   1e-6      1000
      base_shift                             -1000      1000
      max_shift                              -1000      1000
      base_image_seq_len                      1      1000000
      max_image_seq_len                       1      1000000
      shift_terminal                          0            1
      sigma_min                               0          1e6
      sigma_max                               1e-6       1e6
      original_inference_steps                1       100000
      timestep_scaling                        1e-6       1e6
      t_noise                                 0            1
      t_clean                                 0            1
      num_time_windows                        1         1000
      recommended_num_inference_steps         1       100000
      recommended_guidance_scale              0         1000
      teacher_guidance_scale                  0         1000
      """;

  private static final Map<String, Range> RANGES = new HashMap<>();

  private record Range(double least, double most) {}

  static {
    for (String line : TABLE.lines().toList()) {
      String[] words = line.split("\\s+");
      RANGES.put(words[0], new Range(Double.parseDouble(words[1]), Double.parseDouble(words[2])));
    }
  }

  private ConfigRanges() {}

  /** Whether {@code key} has a range. */
  static boolean knows(String key) {
    return RANGES.containsKey(key);
  }

  /**
   * The value of {@code key} as a whole number in its range.
   *
   * @throws IllegalArgumentException saying what it is and what it may be
   */
  static int integer(String key, JsonNode value) {
    double number = number(key, value, "a whole number");
    if (!value.canConvertToExactIntegral()) {
      throw bad(key, value, "a whole number");
    }
    return (int) number; // no range leaves those of int
  }

  /** The value of {@code key} as a number in its range. */
  static double number(String key, JsonNode value) {
    return number(key, value, "a number");
  }

  private static double number(String key, JsonNode value, String kind) {
    Range range = range(key);
    double number = value.isNumber() ? value.doubleValue() : Double.NaN;
    if (!(number >= range.least && number <= range.most)) { // nor NaN
      throw bad(key, value, kind);
    }
    return number;
  }

  private static Range range(String key) {
    Range range = RANGES.get(key);
    if (range == null) {
      throw new IllegalStateException("no range is known for the key " + key);
    }
    return range;
  }

  private static IllegalArgumentException bad(String key, JsonNode value, String kind) {
    Range range = range(key);
    return new IllegalArgumentException(
        "%s: got %s, expected %s from %s to %s"
            .formatted(key, shown(value), kind, shown(range.least), shown(range.most)));
  }

  /** A value in a message, its beginning where it is long. */
  static String shown(JsonNode value) {
    String text = value.toString();
    return text.length() > 100 ? text.substring(0, 100) + "..." : text;
  }

  private static String shown(double bound) {
    return bound == Math.rint(bound) && Math.abs(bound) < 1e9
        ? Long.toString((long) bound)
        : Double.toString(bound);
  }
}
