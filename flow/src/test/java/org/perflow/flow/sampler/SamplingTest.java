package org.perflow.flow.sampler;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Denoiser;
import org.perflow.flow.Golden;
import org.perflow.flow.Guidance;
import org.perflow.flow.Network;
import org.perflow.io.Json;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/** What the loop tells a network, which here answers nothing and takes notes. */
class SamplingTest {
  /** Rows and the number beside time of every pass. */
  private record Pass(long rows, List<Float> numbers) {}

  private static final class Notes implements Network {
    private final boolean takesNumber;
    private final List<Pass> passes = new ArrayList<>();

    Notes(boolean takesNumber) {
      this.takesNumber = takesNumber;
    }

    @Override
    public boolean takesNumber() {
      return takesNumber;
    }

    @Override
    public Denoiser given(Conditioning told) {
      return (z, timesteps) -> {
        List<Float> numbers = new ArrayList<>();
        if (told.timestepCond() != null) {
          for (float number : told.timestepCond().toFloatArray()) {
            numbers.add(number);
          }
        }
        passes.add(new Pass(z.size(0), numbers));
        return z.mul(0);
      };
    }
  }

  private static ObjectNode config(String type) {
    return Json.MAPPER
        .createObjectNode()
        .put("_class_name", type)
        .put("timestep_spacing", "trailing");
  }

  private static List<Pass> passes(ObjectNode config, boolean takesNumber, double guidance) {
    Notes notes = new Notes(takesNumber);
    try (Scope scope = Scope.open();
        Scheduler scheduler = Schedulers.create(config, 2)) {
      Conditioning told = Conditioning.of(Tensor.full(1, 3, 1, 1));
      Conditioning empty = Conditioning.of(Tensor.full(0, 1, 1, 1));
      List<Tensor> states =
          new Sampling(scheduler, notes, told, empty, guidance)
              .fromNoise(Tensor.full(1, 3, 1, 1, 1), Golden.NO_NOISE);
      assertThat(states).hasSize(3);
      long rows = notes.passes.stream().mapToLong(Pass::rows).sum();
      assertThat(Sampling.evaluations(scheduler, Guidance.of(guidance), takesNumber, 0))
          .isEqualTo((int) rows / 3);
    }
    return notes.passes;
  }

  @Test
  void guidanceAsksForBothHalvesAtOnce() {
    assertThat(passes(config("DDIMScheduler"), false, 3)).containsOnly(new Pass(6, List.of()));
    assertThat(passes(config("DDIMScheduler"), false, 1)).containsOnly(new Pass(3, List.of()));
  }

  @Test
  void aNetworkThatIsToldItsGuidanceIsAskedOnce() {
    assertThat(passes(config("DDIMScheduler"), true, 3))
        .containsOnly(new Pass(3, List.of(2f, 2f, 2f)));
  }

  /** Else the guidance that is asked for would be ignored without a word. */
  @Test
  void aNetworkThatIsToldTheLengthOfAStepIsGuidedLikeAnyOther() {
    assertThat(passes(config(SchedulerConfig.SHORTCUT), true, 1))
        .containsOnly(new Pass(3, List.of(.5f, .5f, .5f)));
    assertThat(passes(config(SchedulerConfig.SHORTCUT), true, 3))
        .containsOnly(new Pass(6, List.of(.5f, .5f, .5f, .5f, .5f, .5f)));
  }
}
