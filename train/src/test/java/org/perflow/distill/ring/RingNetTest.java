package org.perflow.distill.ring;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledIfSystemProperty;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.flow.Conditioning;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;
import org.perflow.train.Objective;
import org.perflow.train.Trainer;

/** The network that the methods' students on the ring start from. */
class RingNetTest {
  private static final Conditioning NOTHING = new Ring().nullCondition();

  @TempDir Path temp;

  @Test
  void isNearTheClosedForm() {
    try (RingNet net = RingNet.pretrained();
        Rng rng = Rng.seeded(5);
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      double error = new Denoising(net).loss(step(0, 4000, rng)).item();
      assertThat(Math.sqrt(error)).isLessThan(0.15);
      RingRun.Figures fine = RingRun.figures(net, Ring.scheduler(), 100);
      RingRun.Figures four = RingRun.figures(net, Ring.scheduler(), 4);
      System.out.println("ring network: 100 steps " + fine + ", 4 steps " + four);
      assertThat(fine.energy()).isLessThan(0.5 * four.energy());
      assertThat(RingRun.figures(Ring.TEACHER, Ring.scheduler(), 100).energy()).isLessThan(0.06);
    }
  }

  @Test
  @EnabledIfSystemProperty(named = "perflow.updateRing", matches = ".*")
  void update() throws IOException {
    Device.threads(1); // small tensors
    try (Rng rng = Rng.seeded(1);
        RingNet net = RingNet.random(rng)) {
      var training = RingRecipe.TRAINING.withSteps(2500).withBatch(256).withEma(0.99);
      try (Trainer trainer = new Trainer(new Denoising(net), training, temp)) {
        trainer.run();
        trainer.withAverages(
            () -> {
              try {
                net.save(
                    Path.of("src/main/resources/org/perflow/distill/ring/epsilon.safetensors"));
              } catch (IOException e) {
                throw new java.io.UncheckedIOException(e);
              }
            });
      }
    }
  }

  private static Objective.Step step(long number, int rows, Rng rng) {
    return new Objective.Step(number, 0, new long[rows], rng);
  }

  /** Distance to the teacher's ε at every level. */
  private record Denoising(RingNet net) implements Objective {
    @Override
    public Map<String, Parameter> parameters() {
      return net.parameters();
    }

    @Override
    public int examples() {
      return new Ring().size();
    }

    @Override
    public Tensor loss(Step step) {
      int rows = step.examples().length;
      Tensor z0 = Ring.points(rows, step.rng());
      Tensor noise = Tensor.randn(step.rng(), z0.shape());
      int[] index =
          Arrays.stream(Tensor.randint(step.rng(), 1000, rows).toLongArray())
              .mapToInt(Math::toIntExact)
              .toArray();
      float[] times = new float[rows];
      for (int i = 0; i < rows; i++) {
        times[i] = index[i];
      }
      Tensor z = Ring.SCHEDULE.addNoise(z0, noise, index);
      Tensor t = Tensor.of(times);
      Tensor wanted = Ring.TEACHER.given(NOTHING).predict(z, t);
      return net.given(NOTHING).predict(z, t).sub(wanted).square().mean();
    }
  }
}
