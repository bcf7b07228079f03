package org.perflow.compare;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.perflow.compare.ComparePlan.Entry;
import org.perflow.io.FormatException;

class ComparePlanTest {
  @TempDir Path temp;

  private ComparePlan read(String keys) throws IOException {
    String entries = "entries: [{name: DDIM, sampler: ddim}]\n";
    return ComparePlan.read(Files.writeString(temp.resolve("plan.yaml"), entries + keys + "\n"));
  }

  @Test
  void whatIsLeftOutHasItsDefaultAndNothingElseHas() throws IOException {
    assertThat(read("")).isEqualTo(ComparePlan.of(Entry.ofSampler("DDIM", "ddim")));
    assertThat(read("").seed()).isEqualTo(1_000_000);
    assertThat(read("seed: 0").seed()).isZero();
    assertThat(read("seed: -3").seed()).isEqualTo(-3);
    assertThat(read("steps: [3]\nguidance: 0").steps()).containsExactly(3);
    assertThat(read("guidance: 0").guidance()).isZero(); // none, as anywhere else
    assertThat(read("transfer: {model: a}").transfer().pictures()).isNull();
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "pictures: 0 | pictures must be 6 or more",
        "pictures: -6 | got -6",
        "pictures: 6.5 | 6.5",
        "pictures: | pictures' has no value",
        "referenceSteps: 0 | referenceSteps and batch must be 1 or more; got 0",
        "batch: -1 | got 50 and -1",
        "guidance: -1 | guidance is [-1.0]",
        "steps: [] | steps must be one number or several",
        "steps: [4, 0] | [4, 0]",
        "dtype: int8 | float32, bfloat16 or",
        "device: gpu | known: auto, cpu, cuda",
        "dtype: float31 | float31",
        "picture: 8 | picture",
        "pictures: 8\\npictures: 9 | pictures",
        "entries: [] | nothing to compare",
        "transfer: {model: a, pictures: 0} | transfer: pictures must be 6 or more",
        "transfer: {model: a, pictures: -8} | got -8"
      })
  void whatDoesNotFitIsRefusedByName(String keys, String reason) {
    String text = keys.startsWith("entries") ? keys : keys.replace("\\n", "\n");
    assertThatThrownBy(
            () -> {
              if (text.startsWith("entries")) {
                ComparePlan.read(Files.writeString(temp.resolve("plan.yaml"), text));
              } else {
                read(text);
              }
            })
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("plan.yaml")
        .hasMessageContaining(reason.strip());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "{name: A, sampler: ddim, steps: [0]} | A': steps must be",
        "{name: A, sampler: ddim, guidance: -2} | A': guidance is [-2.0]",
        "{name: A} | A' needs either a method",
        "{name: -+-, sampler: ddim} | no name with a letter or digit",
        "{sampler: ddim} | no name",
        "{name: A, sampler: ddim, lora: {loraRank: 2}} | trains nothing"
      })
  void anEntryThatDoesNotFitIsRefusedByItsName(String entry, String reason) throws IOException {
    Path file = Files.writeString(temp.resolve("plan.yaml"), "entries: [" + entry + "]\n");
    assertThatThrownBy(() -> ComparePlan.read(file))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining(reason.strip());
  }

  @Test
  void aPlanThatIsNoMappingIsRefused() throws IOException {
    Path file = Files.writeString(temp.resolve("plan.yaml"), "- DDIM\n");
    assertThatThrownBy(() -> ComparePlan.read(file)).hasMessageContaining("expected a plan");
    Path empty = Files.writeString(temp.resolve("empty.yaml"), "");
    assertThatThrownBy(() -> ComparePlan.read(empty)).hasMessageContaining("expected a plan");
  }

  @Test
  void isBuiltInJavaWithTheSameChecks() {
    ComparePlan plan =
        ComparePlan.of(
                Entry.ofSampler("DDIM", "ddim"),
                Entry.ofMethod("PeRFlow", "perflow", null).withSteps(4, 8))
            .withTeacher("some-teacher")
            .withPictures(64);
    assertThat(plan.entries().get(1).steps()).isEqualTo(List.of(4, 8));
    assertThat(plan.pictures()).isEqualTo(64);
    assertThatThrownBy(() -> plan.withPictures(-1)).hasMessageContaining("got -1");
    assertThatThrownBy(
            () -> ComparePlan.of(Entry.ofSampler("A b", "ddim"), Entry.ofSampler("a-B", "deis")))
        .hasMessageContaining("the folder 'a-b'");
  }
}
