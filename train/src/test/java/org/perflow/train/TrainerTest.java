package org.perflow.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.perflow.io.Json;
import org.perflow.tensor.Compute;
import org.perflow.tensor.Scope;
import org.perflow.tensor.optim.Moments;
import org.perflow.train.TrainOptions.Decay;

class TrainerTest {
  private static final TrainOptions OPTIONS =
      TrainOptions.DEFAULTS
          .withWarmup(3)
          .withSteps(10)
          .withBatch(4)
          .withAccumulate(2)
          .withLearningRate(0.01)
          .withDecay(Decay.COSINE)
          .withCompute(Compute.F32)
          .withCheckpointEvery(5);

  @TempDir Path temp;

  /** Weights and averages after a run, by name. */
  private Map<String, float[]> train(Path folder, TrainOptions options, boolean resume)
      throws IOException {
    Map<String, float[]> values = new TreeMap<>();
    try (Line line = new Line();
        Trainer trainer = new Trainer(line, options, folder)) {
      assertThat(trainer.resume()).isEqualTo(resume);
      assertThat(trainer.run().steps()).isEqualTo(options.steps());
      line.parameters().forEach((name, p) -> values.put("raw." + name, p.value().toFloatArray()));
      trainer.withAverages(
          () ->
              line.parameters()
                  .forEach((name, p) -> values.put("ema." + name, p.value().toFloatArray())));
    }
    return values;
  }

  private static void assertBitEqual(Map<String, float[]> got, Map<String, float[]> wanted) {
    assertThat(got.keySet()).isEqualTo(wanted.keySet());
    got.forEach((name, values) -> assertThat(values).as(name).isEqualTo(wanted.get(name)));
  }

  @ParameterizedTest
  @EnumSource
  void resumesBitExactlyAlsoAfterAKillInMidCheckpoint(Moments moments) throws IOException {
    TrainOptions options = OPTIONS.withMoments(moments);
    Map<String, float[]> straight = train(temp.resolve("straight"), options, false);
    Path run = temp.resolve("run");
    try (Line line = new Line()) {
      line.divergesAt = 7; // stops two steps after the checkpoint of step 5
      try (Trainer trainer = new Trainer(line, options, run)) {
        assertThatThrownBy(trainer::run).isInstanceOf(DivergedException.class);
      }
    }
    Path halfWritten = Files.createDirectories(run.resolve("checkpoints/.preparing"));
    Files.write(halfWritten.resolve("state.safetensors"), new byte[100]);

    assertBitEqual(train(run, options, true), straight);
    assertThat(halfWritten).doesNotExist();
  }

  @Test
  void aFinishedRunThatIsResumedEndsAsItDid() throws IOException {
    Trainer.Result ended;
    try (Line line = new Line();
        Trainer trainer = new Trainer(line, OPTIONS, temp)) {
      ended = trainer.run();
    }
    Path state = temp.resolve("checkpoints/step-00000010/state.json");
    try (Line line = new Line();
        Trainer trainer = new Trainer(line, OPTIONS, temp)) {
      trainer.resume();
      assertThat(trainer.run().loss()).isFinite().isEqualTo(ended.loss());
      ObjectNode earlier = Json.readObject(state); // as earlier versions wrote it
      earlier.remove("loss");
      Json.write(state, earlier);
      assertThat(trainer.resume()).isTrue();
    }
  }

  /** Where neither type was asked for; one of the two is not what this machine would choose. */
  @Test
  void aResumedRunKeepsTheElementTypeThatItBeganWith() throws IOException {
    TrainOptions choosing = OPTIONS.withCompute(Compute.AUTO);
    assertThat(RunConfig.settled(choosing, temp.resolve("new")).compute())
        .isEqualTo(Compute.AUTO.settled());
    for (Compute type : List.of(Compute.F32, Compute.BF16)) {
      Path run = temp.resolve(type.name());
      train(run, OPTIONS.withCompute(type), false);
      assertThat(RunConfig.settled(choosing, run).compute()).isEqualTo(type);
      assertThat(RunConfig.settled(OPTIONS, run).compute()).isEqualTo(Compute.F32); // as asked for
    }
  }

  /** Powers of two; the objective itself computes in float32, so that nothing overflows. */
  @Test
  void theScaledLossOfFloat16ChangesNoBit() throws IOException {
    Map<String, float[]> plain = train(temp.resolve("plain"), OPTIONS, false);
    TrainOptions half = OPTIONS.withCompute(Compute.F16);
    assertBitEqual(train(temp.resolve("scaled"), half, false), plain);

    Path run = temp.resolve("stopped");
    try (Line line = new Line();
        Trainer trainer = new Trainer(line, half, run)) {
      trainer.listen(
          new TrainListener() {
            private boolean done;

            @Override
            public void onStep(Report report) {
              done = report.step() == 6;
            }

            @Override
            public boolean wantsStop() {
              return done;
            }
          });
      assertThatThrownBy(trainer::run).isInstanceOf(StoppedException.class);
    }
    assertBitEqual(train(run, half, true), plain);
  }

  /** Its steps change nothing, until the scale is down. */
  @Test
  void aRunThatAlwaysOverflowsInFloat16Ends() throws IOException {
    try (Line line = new Line()) {
      line.divergesAt = 0;
      TrainOptions half = OPTIONS.withCompute(Compute.F16).withSteps(100);
      Map<String, float[]> before = new TreeMap<>();
      line.parameters().forEach((name, p) -> before.put(name, p.value().toFloatArray()));
      try (Trainer trainer = new Trainer(line, half, temp)) {
        assertThatThrownBy(trainer::run)
            .isInstanceOf(DivergedException.class)
            .hasMessageContaining("float16");
      }
      line.parameters()
          .forEach((name, p) -> assertThat(p.value().toFloatArray()).isEqualTo(before.get(name)));
    }
  }

  @Test
  void theCurveOfAResumedRunHasEveryStepOnce() throws IOException {
    Path file = temp.resolve("training.csv");
    try (Line line = new Line();
        TrainingCurve curve = new TrainingCurve(file)) {
      line.divergesAt = 7;
      try (Trainer trainer = new Trainer(line, OPTIONS, temp).listen(curve)) {
        assertThatThrownBy(trainer::run).isInstanceOf(DivergedException.class);
      }
    }
    List<TrainingCurve.Point> before = TrainingCurve.read(file);
    assertThat(before).hasSize(7);
    Files.writeString(file, "8,64,0.", StandardOpenOption.APPEND); // killed in mid line
    try (Line line = new Line();
        TrainingCurve curve = new TrainingCurve(file);
        Trainer trainer = new Trainer(line, OPTIONS, temp).listen(curve)) {
      assertThat(trainer.resume()).isTrue(); // from step 5
      trainer.run();
    }
    List<TrainingCurve.Point> all = TrainingCurve.read(file);
    assertThat(all.stream().map(TrainingCurve.Point::step))
        .containsExactly(1L, 2L, 3L, 4L, 5L, 6L, 7L, 8L, 9L, 10L);
    assertThat(all.subList(0, 5)).isEqualTo(before.subList(0, 5));
    assertThat(all.stream().mapToDouble(TrainingCurve.Point::seconds)).isSorted();
    assertThat(all.get(9).images()).isEqualTo(80); // 10 steps of 2 batches of 4
    assertThat(all.get(6).loss()).isEqualTo(before.get(6).loss()); // bit-exact, so the same again

    Files.writeString(file, "nine,1,1,1,1\n", StandardOpenOption.APPEND);
    assertThatThrownBy(() -> TrainingCurve.read(file))
        .hasMessageContaining("training.csv: line 12")
        .hasMessageContaining("nine");
  }

  @Test
  void aNanLossStopsBeforeAnythingIsOverwritten() throws IOException {
    try (Line line = new Line()) {
      line.divergesAt = 7;
      try (Trainer trainer = new Trainer(line, OPTIONS, temp)) {
        assertThatThrownBy(trainer::run)
            .isInstanceOf(DivergedException.class)
            .hasMessageContaining("loss is NaN at step 8")
            .hasMessageContaining("step-00000005");
        line.parameters()
            .values()
            .forEach(parameter -> assertThat(parameter.value().isFinite()).isTrue());
      }
    }
    try (var checkpoints = Files.list(temp.resolve("checkpoints"))) {
      assertThat(checkpoints).hasSize(1);
    }
  }

  @Test
  void keepsTheNewestCheckpointsAndRefusesToOverwriteARun() throws IOException {
    TrainOptions options = OPTIONS.withCheckpointEvery(2).withKeepCheckpoints(2);
    train(temp, options, false);
    try (var checkpoints = Files.list(temp.resolve("checkpoints"))) {
      assertThat(checkpoints.map(path -> path.getFileName().toString()))
          .containsExactlyInAnyOrder("step-00000008", "step-00000010");
    }
    assertThat(Json.read(temp.resolve("config.json")).at("/train/batch").asInt()).isEqualTo(4);
    try (Line line = new Line();
        Trainer trainer = new Trainer(line, options, temp)) {
      assertThatThrownBy(trainer::run).hasMessageContaining("already holds a run");
    }
  }

  @Test
  void learnsAndReports() throws IOException {
    List<TrainListener.Report> reports = new ArrayList<>();
    List<Long> samples = new ArrayList<>();
    TrainOptions options = OPTIONS.withSteps(300).withSampleEvery(100);
    try (Line line = new Line();
        Trainer trainer = new Trainer(line, options, temp)) {
      trainer
          .sampler(() -> new BufferedImage(2, 2, BufferedImage.TYPE_INT_RGB))
          .listen(
              new TrainListener() {
                @Override
                public void onStep(Report report) {
                  reports.add(report);
                }

                @Override
                public void onSample(long step, BufferedImage grid) {
                  samples.add(step);
                }
              });
      trainer.run();
    }
    assertThat(reports).hasSize(300);
    assertThat(mean(reports.subList(280, 300))).isLessThan(0.1 * mean(reports.subList(0, 20)));
    assertThat(samples).containsExactly(0L, 100L, 200L, 300L);
    assertThat(temp.resolve("samples/step-00000300.png")).exists();
  }

  private static double mean(List<TrainListener.Report> reports) {
    return reports.stream().mapToDouble(TrainListener.Report::loss).average().orElseThrow();
  }

  @Test
  void warmsUpFromTheFirstStep() {
    TrainOptions constant = OPTIONS.withWarmup(4).withDecay(Decay.CONSTANT);
    double[] rates = new double[6];
    for (int i = 0; i < rates.length; i++) {
      rates[i] = constant.learningRate(i, i / 10.0);
    }
    assertThat(rates)
        .containsExactly(new double[] {0.0025, 0.005, 0.0075, 0.01, 0.01, 0.01}, within(1e-15));
    assertThat(constant.withDecay(Decay.COSINE).learningRate(5, 0.5))
        .isCloseTo(0.005, within(1e-15));
    assertThat(constant.withDecay(Decay.LINEAR).learningRate(9, 0.9))
        .isCloseTo(0.001, within(1e-15));
  }

  @Test
  void nativeMemoryStaysFlat() throws IOException {
    List<Long> objects = new ArrayList<>();
    List<Long> bytes = new ArrayList<>();
    try (Line line = new Line();
        Trainer trainer = new Trainer(line, OPTIONS.withSteps(60), temp)) {
      trainer.listen(
          new TrainListener() {
            @Override
            public void onStep(Report report) {
              objects.add(Scope.liveObjects());
              bytes.add(Scope.physicalBytes());
            }
          });
      trainer.run();
    }
    assertThat(objects.get(59)).isLessThanOrEqualTo(objects.get(20));
    assertThat(bytes.get(59) - bytes.get(20)).isLessThan(16L << 20);
  }

  @Test
  void anotherModelsCheckpointIsRefused() throws IOException {
    train(temp, OPTIONS, false);
    Path state = temp.resolve("checkpoints/step-00000010/state.safetensors");
    org.perflow.io.SafetensorsWriter.write(state, Map.of(), Map.of());
    try (Line line = new Line();
        Trainer trainer = new Trainer(line, OPTIONS, temp)) {
      assertThatThrownBy(trainer::resume).hasMessageContaining("does not fit this run");
    }
  }

  /** Counts what a run says and does; stops it after a step where asked to. */
  private static final class Witness implements TrainListener {
    private final List<Long> reported = new ArrayList<>();
    private final List<Long> saved = new ArrayList<>();
    private final List<String> notes = new ArrayList<>();
    private long stopAfter;
    private int ends;

    @Override
    public void onNote(String note) {
      notes.add(note);
    }

    @Override
    public void onStep(Report report) {
      reported.add(report.step());
    }

    @Override
    public boolean wantsStop() {
      return stopAfter > 0 && reported.contains(stopAfter);
    }

    @Override
    public void onCheckpoint(long step, Path folder) {
      saved.add(step);
    }

    @Override
    public void onEnd() {
      ends++;
    }
  }

  /** Time passes between any two looks at the clock, also while the last step is decided on. */
  @Test
  void aRunThatEndsByTheClockReportsAndSavesItsLastStepOnce() throws IOException {
    for (int ticks = 1; ticks < 16; ticks++) { // so that the end falls on every line of the loop
      double minutes = (20 + ticks) / 60.0;
      TrainOptions options = OPTIONS.withMinutes(minutes).withSteps(0).withLogEvery(1000);
      Witness witness = new Witness();
      long[] seconds = new long[1];
      Path folder = temp.resolve("run-" + ticks);
      try (Line line = new Line();
          Trainer trainer =
              new Trainer(
                  line, RunConfig.of(options), folder, () -> 1_000_000_000L * seconds[0]++)) {
        long steps = trainer.listen(witness).run().steps();
        assertThat(witness.reported).as("%d ticks", ticks).containsExactly(steps);
        assertThat(witness.saved).as("%d ticks", ticks).doesNotHaveDuplicates().endsWith(steps);
        assertThat(witness.ends).isEqualTo(1);
      }
    }
  }

  @Test
  void aStoppedRunGoesOnFromTheStepItWasAt() throws IOException {
    Map<String, float[]> straight = train(temp.resolve("straight"), OPTIONS, false);
    Path run = temp.resolve("run");
    Witness witness = new Witness();
    witness.stopAfter = 3;
    try (Line line = new Line();
        Trainer trainer = new Trainer(line, OPTIONS, run).listen(witness)) {
      assertThatThrownBy(trainer::run)
          .isInstanceOf(StoppedException.class)
          .hasMessageContaining("after step 3");
    }
    assertThat(witness.saved).containsExactly(3L);
    assertBitEqual(train(run, OPTIONS, true), straight);
  }

  @Test
  void aResumedRunSaysWhichSettingsAreNewAndRefusesThoseOfAnotherTask() throws IOException {
    RunConfig config = RunConfig.of(OPTIONS).with("method", "line").with("line", Map.of("size", 3));
    try (Line line = new Line();
        Trainer trainer = new Trainer(line, config, temp)) {
      trainer.run();
    }
    TrainOptions longer = OPTIONS.withSteps(12).withLearningRate(5e-3);
    RunConfig other = RunConfig.of(longer).with("method", "line").with("line", Map.of("size", 4));
    try (Line line = new Line();
        Trainer trainer = new Trainer(line, other, temp)) {
      assertThatThrownBy(trainer::resume)
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("step-00000010")
          .hasMessageContaining("line.size (was 3, is 4)");
    }
    Witness witness = new Witness();
    RunConfig same = RunConfig.of(longer).with("method", "line").with("line", Map.of("size", 3));
    try (Line line = new Line();
        Trainer trainer = new Trainer(line, same, temp).listen(witness)) {
      assertThat(trainer.resume()).isTrue();
      trainer.run();
    }
    assertThat(witness.notes)
        .containsExactly(
            "resumed with other settings: train.learningRate (was 0.01, is 0.005), train.steps (was"
                + " 10, is 12)");
    assertThat(RunConfig.in(temp).differences(same)).isEmpty(); // what is read is what was told
  }
}
