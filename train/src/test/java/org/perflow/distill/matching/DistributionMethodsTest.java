package org.perflow.distill.matching;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.perflow.distill.Net;
import org.perflow.distill.Task;
import org.perflow.distill.ring.Ring;
import org.perflow.distill.ring.RingGenerator;
import org.perflow.distill.ring.RingRecipe;
import org.perflow.distill.ring.RingRun;
import org.perflow.flow.Conditioning;
import org.perflow.flow.PredictionType;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;
import org.perflow.train.Examples;
import org.perflow.train.Objective;

/** Methods that match the teacher's distribution, on the ring. */
class DistributionMethodsTest {

  @TempDir Path temp;

  @BeforeAll
  static void oneThread() {
    Device.threads(1);
  }

  private Task task(Examples data, Net teacher, Net student) {
    return new Task(
        data,
        new Task.Teacher(teacher, Ring.scheduler()),
        student,
        false,
        RingRecipe.TRAINING,
        temp);
  }

  private static Objective.Step step(int rows, Rng rng) {
    return new Objective.Step(0, 0, new long[rows], rng);
  }

  // ---------------------------------------------------------------- one step

  @ParameterizedTest
  @ValueSource(strings = {"dmd", "dmd2", "swiftbrush", "adversarial"})
  void onlyTheStudentIsTrainedByTheLoss(String name) {
    assertOnlyTheStudentLearns(RingRecipe.of(name));
  }

  /** The teacher has trainable weights here, to which gradients could get. */
  private <O extends Record> void assertOnlyTheStudentLearns(RingRecipe<O> recipe) {
    try (Net teacher = RingGenerator.pretrained();
        Net student = teacher.copy();
        Rng rng = Rng.seeded(2);
        Scope scope = Scope.open();
        Objective objective =
            recipe.method().objective(task(new Ring(), teacher, student), recipe.options())) {
      List<Parameter> students = List.copyOf(student.parameters().values());
      List<Parameter> teachers = List.copyOf(teacher.parameters().values());
      List<float[]> before = teachers.stream().map(p -> p.value().toFloatArray()).toList();
      students.forEach(p -> p.value().requiresGrad(true));
      teachers.forEach(p -> p.value().requiresGrad(true));
      List<float[]> unmoved = students.stream().map(p -> p.value().toFloatArray()).toList();
      objective.loss(step(8, rng)).backward();
      assertThat(students).anyMatch(p -> p.value().hasGrad());
      assertThat(teachers).noneMatch(p -> p.value().hasGrad());
      for (int i = 0; i < teachers.size(); i++) {
        assertThat(teachers.get(i).value().toFloatArray()).isEqualTo(before.get(i));
        assertThat(students.get(i).value().toFloatArray()).isEqualTo(unmoved.get(i));
      }
    }
  }

  @Test
  void swiftBrushNeverLooksAtPictures() {
    Examples captions =
        new Examples() {
          private final Ring ring = new Ring();

          @Override
          public int size() {
            return ring.size();
          }

          @Override
          public long[] shape() {
            return new long[] {2, 1, 1};
          }

          @Override
          public Tensor latents(long[] examples, Rng rng) {
            throw new AssertionError("a picture was asked for");
          }

          @Override
          public Conditioning conditions(long[] examples, Rng rng) {
            return ring.conditions(examples, rng);
          }

          @Override
          public Conditioning nullCondition() {
            return ring.nullCondition();
          }
        };
    try (Net student = RingGenerator.pretrained();
        Rng rng = Rng.seeded(2);
        Scope scope = Scope.open();
        Objective objective =
            new SwiftBrushMethod()
                .objective(
                    task(captions, RingGenerator.TEACHER, student),
                    SwiftBrushOptions.DEFAULTS.with(
                        o -> o.guidance(1).fakeUpdates(3).fakeLearningRate(3e-3).fakeRank(16)))) {
      assertThat(objective.loss(step(8, rng)).isFinite()).isTrue();
    }
  }

  /** weight × mean of α_t (x − x_teacher)², and nothing else, where the GAN's weight is 0. */
  @Test
  void withoutItsDiscriminatorAdversarialIsDistillation() {
    AdversarialOptions options =
        AdversarialOptions.DEFAULTS.with(
            o -> o.guidance(1).fakeLearningRate(0).ganWeight(0).r1Weight(0).r1Noise(0));
    try (Net student = RingGenerator.pretrained();
        Rng rng = Rng.seeded(7);
        Rng same = Rng.seeded(7);
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Task task = task(new Ring(), RingGenerator.TEACHER, student);
      double loss;
      try (Objective objective = new AdversarialMethod().objective(task, options)) {
        assertThat(objective.state()).isEmpty();
        loss = objective.loss(step(4, rng)).item();
      }
      FewStepStudent steps = new FewStepStudent(task, 4);
      Conditioning condition = new Ring().conditions(new long[4], same);
      Tensor x = steps.data(condition, steps.start(condition, same));
      Levels levels = Levels.drawn(Ring.SCHEDULE, PredictionType.EPSILON, 0, 1, 4, same);
      Tensor z = levels.noised(x, Tensor.randn(same, x.shape()));
      double[] epsilon =
          Ring.TEACHER.given(condition).predict(z, levels.timesteps()).toDoubleArray();
      double sum = 0;
      for (int i = 0; i < 8; i++) {
        double alpha = levels.alpha(i / 2);
        double guess = (z.toDoubleArray()[i] - levels.sigma(i / 2) * epsilon[i]) / alpha;
        sum += alpha * Math.pow(x.toDoubleArray()[i] - guess, 2);
      }
      assertThat(loss).isCloseTo(2.5 * sum / 8, within(1e-3 * loss));
    }
  }

  // ---------------------------------------------------------------- fake score

  @Test
  void theFakeScoreStartsAsTheTeacherAndLearnsWhatIsDrawn() {
    try (RingGenerator teacher = RingGenerator.pretrained();
        Rng rng = Rng.seeded(8);
        Scope scope = Scope.open()) {
      Task task = task(new Ring(), teacher, teacher);
      Conditioning captions = new Ring().conditions(new long[64], rng);
      Tensor z = Tensor.randn(rng, 64, 2, 1, 1);
      Tensor t = Tensor.full(400, 64);
      float[] said = teacher.given(captions).predict(z, t).toFloatArray();
      for (int rank : new int[] {0, 8}) {
        try (FakeScore fake =
            new FakeScore(
                task, FakeScore.network(task, rank), 3e-3, FakeScore.Weight.NONE, Map.of())) {
          assertThat(fake.net().given(captions).predict(z, t).toFloatArray()).isEqualTo(said);
          Tensor drawn = Tensor.full(0.5, 64, 2, 1, 1); // unlike the ring
          double before = fakeLoss(fake, drawn, captions);
          for (int i = 0; i < 40; i++) {
            fake.update(() -> fake.loss(drawn, captions, rng));
          }
          assertThat(fakeLoss(fake, drawn, captions)).isLessThan(0.6 * before);
          assertThat(teacher.given(captions).predict(z, t).toFloatArray()).isEqualTo(said);
        }
      }
    }
  }

  private static double fakeLoss(FakeScore fake, Tensor drawn, Conditioning captions) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        Rng rng = Rng.seeded(9)) {
      return fake.loss(drawn, captions, rng).item();
    }
  }

  // ---------------------------------------------------------------- learning

  @ParameterizedTest
  @CsvSource({"dmd, 120, 3", "dmd2, 200, 1.7", "swiftbrush, 150, 3", "adversarial, 250, 1.7"})
  void learns(String name, int updates, double factor) throws IOException {
    assertLearns(RingRecipe.of(name).trainedFor(updates), factor);
  }

  @Test
  void dmd2LearnsWithoutItsDiscriminator() throws IOException {
    Dmd2Options options =
        Dmd2Options.DEFAULTS.with(
            o ->
                o.studentSteps(1)
                    .guidance(1)
                    .fakeLearningRate(2e-3)
                    .ganWeight(0)
                    .discriminatorWeight(0)
                    .r1Weight(0)
                    .r1Noise(0));
    assertLearns(RingRecipe.matching(new Dmd2Method(), options, 150, 1), 2.5);
  }

  /** At its own number of steps, nearer the data than the student that it started from. */
  private void assertLearns(RingRecipe<?> recipe, double factor) throws IOException {
    int steps = recipe.steps().get(0);
    try (Net student = recipe.student().get()) {
      RingRun.Figures before = RingRun.figures(student, recipe.sampler(), steps);
      RingRun.Figures after = RingRun.train(recipe, student, temp, steps);
      System.out.printf(
          "%s, %d steps: %s, started at %s%n", recipe.method().name(), steps, after, before);
      assertThat(after.energy()).isLessThan(before.energy() / factor);
    }
  }
}
