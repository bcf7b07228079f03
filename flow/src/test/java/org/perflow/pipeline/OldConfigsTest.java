package org.perflow.pipeline;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.awt.Color;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.io.IOException;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.perflow.flow.Golden;
import org.perflow.io.Json;
import org.perflow.models.ControlNetModel;
import org.perflow.models.DiffusionModel;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;

/**
 * Folders with a scheduler config that is out of date. The numbers are latents [0, :, 3, 5] of
 * diffusers 0.40, {@code from_pretrained} on the golden sd15 folder with that config; "a red
 * apple", 32 x 32, guidance 3, seed 7, image all (40, 200, 90), mask white in x 8-24, y 8-32,
 * strength 0.8.
 */
class OldConfigsTest {
  private static DiffusionModel model;
  private static ControlNetModel net;
  private static BufferedImage green;
  private static BufferedImage mask;

  @BeforeAll
  static void load() throws IOException {
    Device.threads(1); // these networks are too small to share out
    model = DiffusionModel.load(Golden.MODELS.resolve("sd15"), DType.F32);
    net = ControlNetModel.load(Golden.MODELS.resolve("controlnet-sd15"), DType.F32);
    green = filled(new Color(40, 200, 90), 0, 0, 32, 32);
    mask = filled(Color.WHITE, 8, 8, 16, 24);
  }

  @AfterAll
  static void free() {
    model.close();
    net.close();
  }

  private static BufferedImage filled(Color color, int x, int y, int width, int height) {
    BufferedImage image = new BufferedImage(32, 32, BufferedImage.TYPE_INT_RGB);
    Graphics2D graphics = image.createGraphics();
    graphics.setColor(color);
    graphics.fillRect(x, y, width, height);
    graphics.dispose();
    return image;
  }

  private static ObjectNode old(String type) {
    return Json.MAPPER
        .createObjectNode()
        .put("_class_name", type)
        .put("beta_start", 0.00085)
        .put("beta_end", 0.012)
        .put("beta_schedule", "scaled_linear");
  }

  private static Request request(int steps) {
    return Request.of("a red apple").withSteps(steps).withGuidance(3).withSeed(7).withSize(32, 32);
  }

  private static void draws(ObjectNode config, Request request, double... expected) {
    draws(new Pipeline(model.withScheduler(config)), request, expected);
  }

  private static void draws(Pipeline pipeline, Request request, double... expected) {
    try (Pipeline.Result result = pipeline.generate(request)) {
      float[] latents = result.latents().toFloatArray(); // [1, 4, 8, 8]
      for (int channel = 0; channel < 4; channel++) {
        assertThat((double) latents[64 * channel + 8 * 3 + 5])
            .as("channel " + channel)
            .isCloseTo(expected[channel], within(1e-3));
      }
    }
  }

  /** The default of DDIMScheduler is to clip, which is for pixels. */
  @Test
  void textAndImageToImageDoNotClip() {
    ObjectNode missing = old("DDIMScheduler");
    ObjectNode wrong = old("DDIMScheduler").put("clip_sample", true).put("steps_offset", 0);
    Request image = request(5).withImage(green, 0.8);
    for (ObjectNode config : new ObjectNode[] {missing, wrong}) {
      draws(config, request(5), 1.34338, -1.61714, -5.5335, -1.6205);
      draws(config, image, -0.15393, -2.04906, -4.49858, -3.39099);
    }
    draws(old("PNDMScheduler"), request(6), 0.69259, -2.05445, -5.75213, -1.62468);
    ObjectNode lcm = old("LCMScheduler").put("clip_sample", true);
    draws(lcm, request(5), -0.86523, -16.63175, -24.76271, -16.99612);
  }

  @Test
  void inpaintingClipsAndLeavesOutRungeKutta() {
    Request inpaint = request(5).withImage(green, 0.8).withMask(mask);
    draws(old("DDIMScheduler"), inpaint, 0.0013, -0.85128, -0.93035, -1.0);
    draws(old("PNDMScheduler"), inpaint, -0.71749, -2.7638, -5.73427, -4.73902);
  }

  @Test
  void withControlNetsTheConfigIsTakenAsItIs() {
    Control control = Control.of(net, green);
    Request text = request(5).withControls(control);
    draws(old("DDIMScheduler"), text, 0.68704, 1.0, -0.34221, -0.62307);
    Request half = request(5).withControls(control.withScale(0.5)); // diffusers' default here
    Request masked = half.withImage(green, 0.8).withMask(mask);
    draws(old("DDIMScheduler"), masked, 0.10315, -0.87302, -0.85962, -1.0);
  }

  /**
   * {@code X.from_config(pipe.scheduler.config)} sees a correction only where the file has the key.
   */
  @Test
  void anotherSamplerStartsFromWhatIsWritten() {
    Pipeline missing = new Pipeline(model.withScheduler(old("PNDMScheduler")));
    draws(missing.withScheduler("pndm"), request(5), 0.79919, -1.88906, -4.86217, -1.50087);
    draws(missing.withScheduler("euler"), request(5), 4.68709, -4.27052, -16.70493, -4.37659);
    ObjectNode wrong = old("DDIMScheduler").put("clip_sample", true).put("steps_offset", 0);
    Pipeline written = new Pipeline(model.withScheduler(wrong));
    draws(written.withScheduler("ddim"), request(5), 1.34338, -1.61714, -5.5335, -1.6205);
    draws(written.withScheduler("ddpm"), request(5), 0.08895, -5.91162, -8.77444, -7.66745);
    draws(written.withScheduler("pndm"), request(5), 0.74144, -1.95453, -4.83547, -1.42246);
  }
}
