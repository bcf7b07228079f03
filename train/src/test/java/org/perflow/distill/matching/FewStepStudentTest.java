package org.perflow.distill.matching;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.perflow.distill.Net;
import org.perflow.distill.Task;
import org.perflow.distill.ring.Ring;
import org.perflow.distill.ring.RingNet;
import org.perflow.distill.ring.RingRecipe;
import org.perflow.flow.Conditioning;
import org.perflow.flow.sampler.Scheduler;
import org.perflow.flow.sampler.Schedulers;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/** Students are trained on the states that their sampler meets. */
class FewStepStudentTest {
  private static final Conditioning ONE = new Ring().nullCondition();

  @BeforeAll
  static void oneThread() {
    Device.threads(1);
  }

  private static FewStepStudent student(Net net, int steps) {
    var teacher = new Task.Teacher(Ring.TEACHER, Ring.scheduler());
    return new FewStepStudent(
        new Task(new Ring(), teacher, net, false, RingRecipe.TRAINING, Path.of("unused")), steps);
  }

  /** Every step's state and draw, bit by bit, from the sampler that the student is saved with. */
  @Test
  void simulatesItsSampler() {
    Set<Integer> seen = new HashSet<>();
    try (RingNet net = RingNet.pretrained()) {
      for (int seed = 0; seen.size() < 4 && seed < 100; seed++) {
        try (Scope scope = Scope.open();
            NoGrad guard = NoGrad.enter();
            Rng own = Rng.seeded(seed);
            Rng same = Rng.seeded(seed);
            Scheduler sampler =
                Schedulers.create(FewStepStudent.scheduler(Ring.scheduler(), 4), 4)) {
          FewStepStudent student = student(net, 4);
          FewStepStudent.Start start = student.start(ONE, own);
          Tensor drawn = student.data(ONE, start);
          var unused = Tensor.rand(same, 1); // which step
          Tensor z = Tensor.randn(same, 1, 2, 1, 1);
          int level = start.levels().indices().get(0);
          int index = 0;
          while (sampler.timesteps()[index] > level) {
            Tensor at = Tensor.of(new float[] {(float) sampler.timesteps()[index]});
            Tensor output = net.given(ONE).predict(z, at);
            z = sampler.step(output, index, z, x -> Tensor.randn(same, x.shape()));
            index++;
          }
          assertThat(start.z().toFloatArray()).isEqualTo(z.toFloatArray());
          if (index == 3) { // the last prediction is the result
            Tensor output = net.given(ONE).predict(z, start.levels().timesteps());
            Tensor last = sampler.step(output, index, z, x -> x);
            assertThat(drawn.toFloatArray()).isEqualTo(last.toFloatArray());
          }
          seen.add(level);
        }
      }
    }
    assertThat(seen).containsExactlyInAnyOrder(999, 749, 499, 249);
  }

  @Test
  void spreadsTheRowsOverTheStepsLateOnesFirst() {
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(1);
        RingNet net = RingNet.pretrained()) {
      Conditioning eight = Conditioning.of(Tensor.full(0, 8, 1));
      List<Integer> levels = student(net, 4).start(eight, rng).levels().indices();
      assertThat(levels).containsExactly(249, 249, 499, 499, 749, 749, 999, 999);
    }
  }

  @Test
  void refusesTeachersThatSayNothingOfDataAtTheStart() {
    var zero = Ring.scheduler().put("rescale_betas_zero_snr", true);
    assertThatThrownBy(() -> FewStepStudent.require(zero, 4))
        .hasMessageContaining("takes a v_prediction model");
    FewStepStudent.require(zero.put("prediction_type", "v_prediction"), 4);
    assertThatThrownBy(() -> FewStepStudent.require(Ring.scheduler(), 3))
        .hasMessageContaining("got 3 steps");
  }
}
