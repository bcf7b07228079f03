package org.perflow.pipeline;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import org.perflow.io.Json;

/**
 * Scheduler configs from before Stable Diffusion's settings were written down. Diffusers' pipelines
 * of Stable Diffusion 1 and 2 (not XL) correct them when they are loaded, each in its own way
 * ({@code __init__} of pipeline_stable_diffusion.py and its kin):
 *
 * <table>
 * <caption>What is set, whatever the file says</caption>
 * <tr><th>pipeline</th><th>{@code steps_offset}</th><th>{@code clip_sample}</th>
 *     <th>{@code skip_prk_steps}</th></tr>
 * <tr><td>text to image, image to image</td><td>1</td><td>false</td><td></td></tr>
 * <tr><td>inpainting</td><td>1</td><td></td><td>true</td></tr>
 * <tr><td>with ControlNets</td><td></td><td></td><td></td></tr>
 * </table>
 */
final class OldConfigs {
  private OldConfigs() {}

  /** The model's own {@code config} as the pipeline for {@code request} samples with it. */
  static ObjectNode corrected(ObjectNode config, Request request) {
    return config.deepCopy().setAll(corrections(request));
  }

  /**
   * {@code config} as another sampler is made from it: {@code from_config} forgets what the file
   * did not say, corrected or not.
   */
  static ObjectNode correctedWhereWritten(ObjectNode config, Request request) {
    ObjectNode corrections = corrections(request);
    List<String> written = new ArrayList<>();
    config.fieldNames().forEachRemaining(written::add);
    return config.deepCopy().setAll(corrections.retain(written));
  }

  private static ObjectNode corrections(Request request) {
    ObjectNode corrections = Json.MAPPER.createObjectNode();
    if (!request.controls().isEmpty()) {
      return corrections;
    }
    corrections.put("steps_offset", 1);
    return request.mask() == null
        ? corrections.put("clip_sample", false)
        : corrections.put("skip_prk_steps", true);
  }
}
