package org.perflow.compare;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.accelerate.Methods;
import org.perflow.compare.ComparePlan.Entry;
import org.perflow.io.Json;
import org.perflow.tensor.Device;
import org.perflow.train.RunConfig;
import org.perflow.train.StoppedException;
import org.perflow.train.TrainListener;

/** What a comparison trains; the command's test has the whole way to the report. */
class ComparisonTest {
  private static final TrainListener STOP =
      new TrainListener() {
        @Override
        public boolean wantsStop() {
          return true;
        }
      };

  @BeforeAll
  static void oneThread() {
    Device.threads(1);
  }

  private static ComparePlan plan(Path temp, Entry entry) throws IOException {
    Path teacher = TinyTeacher.in(temp.resolve("teacher"), "DDIMScheduler");
    return ComparePlan.of(entry)
        .withTeacher(teacher.toString())
        .withData(List.of(TinyTeacher.data(temp.resolve("data")).toString()))
        .withTrain(json("{\"steps\": 2, \"batch\": 2, \"warmup\": 0, \"compute\": \"F32\"}"));
  }

  private static ObjectNode json(String text) throws IOException {
    return (ObjectNode) Json.MAPPER.readTree(text);
  }

  @Test
  void aMethodIsTrainedAsALoraWhereThatIsWhatItIs(@TempDir Path temp) throws IOException {
    ComparePlan plan = plan(temp, Entry.ofMethod("LCM LoRA", "lcm-lora", null));
    Comparison comparison = Comparison.of(plan).out(temp.resolve("out"));
    assertThatThrownBy(() -> comparison.run(line -> {}, STOP)).isInstanceOf(StoppedException.class);
    assertThat(RunConfig.in(temp.resolve("out/lcm-lora")).section("lora").path("loraRank").asInt())
        .isPositive()
        .isEqualTo(Methods.of("lcm-lora").lora().loraRank());
  }

  @Test
  void aLoraThatTheMethodCannotBeIsRefusedBeforeAnythingIsWritten(@TempDir Path temp)
      throws IOException {
    Entry entry =
        new Entry("LCM", null, null, "lcm", null, null, json("{\"loraRank\": 2}"), null, null);
    Comparison comparison = Comparison.of(plan(temp, entry)).out(temp.resolve("out"));
    assertThatThrownBy(() -> comparison.run(line -> {}))
        .hasMessageContaining("'LCM': ")
        .hasMessageContaining("lcm-lora");
    assertThat(temp.resolve("out")).doesNotExist();
  }

  @Test
  void entriesAreChosenByTheNamesOfTheirFolders() {
    Comparison comparison = Comparison.of(ComparePlan.of(Entry.ofSampler("DDIM", "ddim")));
    assertThatThrownBy(() -> comparison.only(List.of("DDIM"))).hasMessageContaining("[ddim]");
    assertThatThrownBy(() -> comparison.run(line -> {})).hasMessageContaining("folder to write");
  }
}
