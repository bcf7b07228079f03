package org.perflow.cli;

import java.awt.image.BufferedImage;
import java.util.List;
import org.perflow.flow.Pipeline;
import org.perflow.flow.Request;
import org.perflow.io.Images;
import org.perflow.models.DiffusionModel;
import org.perflow.tensor.DType;

/** The pictures that show during training how far a model has come: always the same ones. */
final class SampleSheet {
  private static final List<String> PROMPTS =
      List.of("red apple", "cat face", "rocket", "pizza", "red heart", "guitar", "fire", "sun");

  private SampleSheet() {}

  /** Two rows of four, from seed 0. */
  static BufferedImage draw(DiffusionModel model, DType compute, int steps, double guidance) {
    List<Request> requests =
        PROMPTS.stream()
            .map(Request::of)
            .map(request -> request.withSteps(steps).withGuidance(guidance))
            .toList();
    try (Pipeline.Result drawn =
        new Pipeline(model, compute)
            .generate(requests, requests.size(), (done, total, latents) -> {})) {
      return Images.grid(drawn.pictures(), 4);
    }
  }
}
