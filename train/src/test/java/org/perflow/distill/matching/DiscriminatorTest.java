package org.perflow.distill.matching;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.perflow.distill.Net;
import org.perflow.distill.Task;
import org.perflow.distill.ring.Ring;
import org.perflow.distill.ring.RingGenerator;
import org.perflow.distill.ring.RingRecipe;
import org.perflow.flow.Conditioning;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.train.DivergedException;

class DiscriminatorTest {
  private static final int ROWS = 64;

  @BeforeAll
  static void oneThread() {
    Device.threads(1);
  }

  private static Task task(Net net) {
    var teacher = new Task.Teacher(RingGenerator.TEACHER, Ring.scheduler());
    return new Task(new Ring(), teacher, net, false, RingRecipe.TRAINING, Path.of("unused"));
  }

  private static Conditioning captions() {
    return new Ring().conditions(new long[ROWS], null);
  }

  /** All at the ring's centre. */
  private static Tensor collapsed() {
    return Tensor.full(0, ROWS, 2, 1, 1);
  }

  @Test
  void thePenaltyIsNothingWithoutNoise() {
    try (RingGenerator net = RingGenerator.pretrained()) {
      double plain = loss(net, 0, 0.1);
      assertThat(loss(net, 100, 0)).isEqualTo(plain);
      assertThat(loss(net, 100, 0.1)).isGreaterThan(plain);
    }
  }

  private static double loss(Net net, double r1Weight, double r1Noise) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        Rng rng = Rng.seeded(5);
        Discriminator discriminator =
            new Discriminator(task(net), net, Discriminator.Kind.HINGE, r1Weight, r1Noise)) {
      return discriminator.loss(Ring.points(ROWS, rng), collapsed(), captions(), rng).item();
    }
  }

  /** Which the student's loss then says: it is lower for data than for what is told from it. */
  @Test
  void learnsToTellSamplesFromDataAndSaysWhereItHasWon() {
    for (Discriminator.Kind kind : Discriminator.Kind.values()) {
      try (RingGenerator net = RingGenerator.pretrained();
          Rng rng = Rng.seeded(6);
          Discriminator discriminator = new Discriminator(task(net), net, kind, 1, 0.1);
          Auxiliary training =
              new Auxiliary(task(net), "discriminator", discriminator.parameters(), 3e-3)) {
        double before = gap(discriminator, rng);
        for (int i = 0; i < 40; i++) {
          training.step(
              () -> discriminator.loss(Ring.points(ROWS, rng), collapsed(), captions(), rng));
        }
        assertThat(gap(discriminator, rng)).isGreaterThan(before + 0.3);
        try (Scope scope = Scope.open();
            NoGrad guard = NoGrad.enter()) {
          discriminator.state().get("discriminator.running").copyInPlace(Tensor.full(0, 1));
          assertThatThrownBy(
                  () -> discriminator.loss(Ring.points(ROWS, rng), collapsed(), captions(), rng))
              .isInstanceOf(DivergedException.class)
              .hasMessageContaining("raise r1Weight (now 1.0)");
        }
      }
    }
  }

  private static double gap(Discriminator discriminator, Rng rng) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor real = discriminator.studentLoss(Ring.points(ROWS, rng), captions(), rng);
      Tensor drawn = discriminator.studentLoss(collapsed(), captions(), rng);
      return drawn.sub(real).item();
    }
  }
}
