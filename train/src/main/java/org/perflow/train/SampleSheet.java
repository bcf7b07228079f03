package org.perflow.train;

import java.awt.image.BufferedImage;
import java.util.List;
import java.util.stream.IntStream;
import org.perflow.io.Images;
import org.perflow.models.DiffusionModel;
import org.perflow.pipeline.Pipeline;
import org.perflow.pipeline.Request;
import org.perflow.tensor.DType;

/** The pictures that show during training how far a model has come: always the same ones. */
public record SampleSheet(List<String> captions) {
  private static final int PICTURES = 8;
  private static final int COLUMNS = 4;

  /** Of captions from all over those of the data; fewer where there are not as many. */
  public static SampleSheet of(List<String> captions) {
    List<String> all = captions.stream().distinct().toList();
    int count = Math.min(PICTURES, all.size());
    return new SampleSheet(
        IntStream.range(0, count).mapToObj(i -> all.get(i * all.size() / count)).toList());
  }

  /** Rows of four, from seed 0. */
  public BufferedImage draw(DiffusionModel model, DType compute, int steps, double guidance) {
    List<Request> requests =
        captions.stream()
            .map(Request::of)
            .map(request -> request.withSteps(steps).withGuidance(guidance))
            .toList();
    try (Pipeline.Result drawn =
        new Pipeline(model, compute)
            .generate(requests, requests.size(), (done, total, latents) -> {})) {
      return Images.grid(drawn.pictures(), COLUMNS);
    }
  }
}
