package org.perflow.accelerate;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.lang.reflect.RecordComponent;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.perflow.distill.Method;
import org.perflow.distill.Net;
import org.perflow.distill.Task;
import org.perflow.distill.ring.Ring;
import org.perflow.distill.ring.RingNet;
import org.perflow.distill.ring.RingRecipe;
import org.perflow.io.Json;
import org.perflow.io.Overrides;
import org.perflow.tensor.Device;
import org.perflow.tensor.Rng;
import org.perflow.train.Objective;
import org.perflow.train.StoppedException;
import org.perflow.train.TrainListener;
import org.perflow.train.TrainOptions;
import org.perflow.train.Trainer;

/** What holds of every method. */
class MethodsTest {
  private static final int STEPS = 8;
  private static final TrainOptions TRAINING = RingRecipe.TRAINING.withSteps(STEPS).withBatch(16);

  /** Where a method has the setting: less work. */
  private static final Map<String, Object> SMALL =
      Map.of("pairs", 64, "pairSteps", 4, "guidance", 1);

  @TempDir Path temp;

  @BeforeAll
  static void oneThread() {
    Device.threads(1);
  }

  static List<Method<?>> all() {
    return Methods.ALL;
  }

  @ParameterizedTest
  @MethodSource("all")
  void resumesBitExactly(Method<?> method) throws IOException {
    assertResumes(method, false);
  }

  @ParameterizedTest
  @MethodSource("all")
  void resumesBitExactlyAsLora(Method<?> method) throws IOException {
    assertResumes(method, true);
  }

  private <O extends Record> void assertResumes(Method<O> method, boolean lora) throws IOException {
    Map<String, float[]> whole = train(method, lora, temp.resolve("whole"), STEPS);
    train(method, lora, temp.resolve("halves"), STEPS / 2);
    Map<String, float[]> halves = train(method, lora, temp.resolve("halves"), STEPS);
    Map<String, float[]> start = train(method, lora, temp.resolve("start"), 1);
    assertThat(whole.keySet()).isEqualTo(halves.keySet());
    whole.forEach((name, values) -> assertThat(halves.get(name)).as(name).isEqualTo(values));
    assertThat(whole.entrySet()).anyMatch(e -> !Arrays.equals(e.getValue(), start.get(e.getKey())));
  }

  /** Trains until {@code end} from where the folder's run is; the weights then. */
  private <O extends Record> Map<String, float[]> train(
      Method<O> method, boolean lora, Path folder, int end) throws IOException {
    O options = small(method);
    var teacher = new Task.Teacher(Ring.TEACHER, Ring.scheduler());
    long[] reached = new long[1];
    try (Rng rng = Rng.seeded(2);
        Net full = RingNet.pretrained();
        Net student = lora ? full.lora(4, rng) : full.copy();
        Objective objective =
            method.objective(
                new Task(new Ring(), teacher, student, true, TRAINING, folder), options);
        Trainer trainer = new Trainer(objective, TRAINING, folder)) {
      trainer.resume();
      trainer.listen(
          new TrainListener() {
            @Override
            public void onStep(Report report) {
              reached[0] = report.step();
            }

            @Override
            public boolean wantsStop() {
              return reached[0] == end;
            }
          });
      try {
        trainer.run();
      } catch (StoppedException e) {
        assertThat(end).isLessThan(STEPS);
      }
      Map<String, float[]> weights = new LinkedHashMap<>();
      student.parameters().forEach((name, p) -> weights.put(name, p.value().toFloatArray()));
      return weights;
    }
  }

  @Test
  void theSettingsOfEveryMethodAreJsonByTheirNames() {
    for (Method<?> method : Methods.ALL) {
      Record defaults = method.defaults();
      var json = (ObjectNode) Json.MAPPER.valueToTree(defaults);
      assertThat(json.fieldNames())
          .toIterable()
          .containsExactlyElementsOf(
              Arrays.stream(defaults.getClass().getRecordComponents())
                  .map(RecordComponent::getName)
                  .toList());
      assertThat(Overrides.apply(defaults, json)).isEqualTo(defaults);
    }
  }

  private static <O extends Record> O small(Method<O> method) {
    var changes = Json.MAPPER.createObjectNode();
    for (RecordComponent component : method.defaults().getClass().getRecordComponents()) {
      String name = component.getName();
      if (SMALL.containsKey(name)) {
        changes.set(name, Json.MAPPER.valueToTree(SMALL.get(name)));
      }
    }
    return Overrides.apply(method.suited(Ring.scheduler(), method.defaults()), changes);
  }
}
