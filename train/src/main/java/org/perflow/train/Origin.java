package org.perflow.train;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import org.perflow.io.Sample;

/**
 * What became of a picture before it was a sample, as the sample's JSON has it. Stable Diffusion XL
 * is told of it when it learns (Podell et al., arXiv 2307.01952, section 2.2), so that it takes
 * neither blur nor cut heads for a part of the captions.
 *
 * @param height of the picture as it was found, in pixels
 * @param width likewise
 * @param top of the crop, in pixels of the scaled picture
 * @param left likewise
 * @param repeats how often it is seen for once that one of weight 1 is
 */
public record Origin(int height, int width, int top, int left, int repeats) {
  private static final String SIZE = "original_size"; // [height, width]
  private static final String CROP = "crop_top_left"; // [top, left]
  private static final String REPEATS = "repeats";

  /** That of a sample; of one that says nothing: a picture of the size it has, never cropped. */
  public static Origin of(Sample sample, int height, int width) {
    JsonNode json = sample.json();
    JsonNode size = json.path(SIZE);
    JsonNode crop = json.path(CROP);
    return new Origin(
        size.path(0).asInt(height),
        size.path(1).asInt(width),
        crop.path(0).asInt(0),
        crop.path(1).asInt(0),
        repeats(sample));
  }

  /** How often that sample is seen for once that one of weight 1 is. */
  static int repeats(Sample sample) {
    return Math.max(1, sample.json().path(REPEATS).asInt(1));
  }

  /** Adds it to a sample's JSON. */
  public void writeTo(ObjectNode json) {
    json.putArray(SIZE).add(height).add(width);
    json.putArray(CROP).add(top).add(left);
    if (repeats != 1) {
      json.put(REPEATS, repeats);
    }
  }
}
