package org.perflow.distill;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
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
  private static final DmdOptions DMD = new DmdOptions(1, 2, 0, 0, 0.25, 256, 10);
  private static final Dmd2Options DMD2 = new Dmd2Options(1, 1, 5, 2e-3, 0, 0, 0, 0, 0);
  private static final Dmd2Options DMD2_GAN = new Dmd2Options(4, 1, 5, 2e-3, 0, 0.1, 0.1, 1, 0.1);
  private static final SwiftBrushOptions SWIFT_BRUSH = new SwiftBrushOptions(1, 3, 3e-3, 16, 0.1);
  private static final AdversarialOptions ADVERSARIAL =
      new AdversarialOptions(4, 1, 2, 2e-3, 1, 0.1, 1, 0.1);

  @TempDir Path temp;

  @BeforeAll
  static void oneThread() {
    Device.threads(1);
  }

  private Task task(Examples data, Net teacher, Net student) {
    return new Task(
        data, new Task.Teacher(teacher, Ring.SCHEDULER), student, false, RingRun.TRAINING, temp);
  }

  private static Objective.Step step(int rows, Rng rng) {
    return new Objective.Step(0, 0, new long[rows], rng);
  }

  // ---------------------------------------------------------------- one step

  @Test
  void onlyTheStudentIsTrainedByTheLoss() {
    assertOnlyTheStudentLearns(new DmdMethod(), DMD);
    assertOnlyTheStudentLearns(new Dmd2Method(), DMD2_GAN);
    assertOnlyTheStudentLearns(new SwiftBrushMethod(), SWIFT_BRUSH);
    assertOnlyTheStudentLearns(new AdversarialMethod(), ADVERSARIAL);
  }

  /** The teacher has trainable weights here, to which gradients could get. */
  private <O extends Record> void assertOnlyTheStudentLearns(Method<O> method, O options) {
    try (Net teacher = RingGenerator.pretrained();
        Net student = teacher.copy();
        Rng rng = Rng.seeded(2);
        Scope scope = Scope.open();
        Objective objective = method.objective(task(new Ring(), teacher, student), options)) {
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
                .objective(task(captions, RingGenerator.TEACHER, student), SWIFT_BRUSH)) {
      assertThat(objective.loss(step(8, rng)).isFinite()).isTrue();
    }
  }

  /** weight × mean of α_t (x − x_teacher)², and nothing else, where the GAN's weight is 0. */
  @Test
  void withoutItsDiscriminatorAdversarialIsDistillation() {
    AdversarialOptions options = new AdversarialOptions(4, 1, 1, 0, 0, 2.5, 0, 0);
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

  @Test
  void dmd2Learns() throws IOException {
    assertLearns(new Dmd2Method(), DMD2, 150, 1, 2.5);
  }

  @Test
  void dmd2LearnsWithItsDiscriminator() throws IOException {
    assertLearns(new Dmd2Method(), DMD2_GAN, 200, 4, 1.7);
  }

  @Test
  void dmdLearns() throws IOException {
    assertLearns(new DmdMethod(), DMD, 120, 1, 3);
  }

  @Test
  void swiftBrushLearns() throws IOException {
    assertLearns(new SwiftBrushMethod(), SWIFT_BRUSH, 150, 1, 3);
  }

  @Test
  void adversarialLearns() throws IOException {
    assertLearns(new AdversarialMethod(), ADVERSARIAL, 250, 4, 1.7);
  }

  /** At its own number of steps, nearer the data than the student that it started from. */
  private <O extends Record> void assertLearns(
      Method<O> method, O options, int updates, int steps, double factor) throws IOException {
    try (RingGenerator student = RingGenerator.pretrained()) {
      RingRun.Figures before =
          RingRun.figures(student, method.scheduler(Ring.SCHEDULER, options), steps);
      RingRun.Figures after =
          RingRun.train(
              method,
              options,
              RingGenerator.TEACHER,
              student,
              RingRun.TRAINING.with("steps", updates).with("batch", 128).with("learningRate", 1e-3),
              temp,
              steps);
      System.out.printf("%s, %d steps: %s, started at %s%n", method.name(), steps, after, before);
      assertThat(after.energy()).isLessThan(before.energy() / factor);
    }
  }
}
