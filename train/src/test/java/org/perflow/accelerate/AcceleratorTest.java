package org.perflow.accelerate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.withinPercentage;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.delta.DeltaFolder;
import org.perflow.delta.ModelCard;
import org.perflow.distill.perflow.PerflowMethod;
import org.perflow.io.Fingerprint;
import org.perflow.io.FormatException;
import org.perflow.io.Json;
import org.perflow.models.DiffusionModel;
import org.perflow.models.SchedulerConfig;
import org.perflow.models.lora.LoraFile;
import org.perflow.tensor.Compute;
import org.perflow.tensor.DType;
import org.perflow.tensor.Scope;
import org.perflow.train.Golden;
import org.perflow.train.LoraOptions;
import org.perflow.train.StoppedException;
import org.perflow.train.TrainListener;
import org.perflow.train.TrainOptions;
import org.perflow.train.TrainingCurve;

/** From a tiny teacher's folder to a student's. */
class AcceleratorTest {
  private static final TrainOptions THREE_STEPS =
      TrainOptions.DEFAULTS.withSteps(3).withBatch(2).withWarmup(0).withCompute(Compute.F32);

  @TempDir Path temp;
  private Accelerator accelerator;

  @BeforeEach
  void choose() throws IOException {
    accelerator =
        Accelerator.of(Golden.FOLDER)
            .data(Golden.shard(temp.resolve("train-0.tar")))
            .method(PerflowMethod.MEASURED, suited -> suited.withWindows(2).withSolvingSteps(2))
            .train(THREE_STEPS);
  }

  /** Wants to stop after two steps. */
  private static final class Stop implements TrainListener {
    private long step;

    @Override
    public void onStep(Report report) {
      step = report.step();
    }

    @Override
    public boolean wantsStop() {
      return step == 2;
    }
  }

  @Test
  void aStoppedAndResumedRunMakesTheSameStudentAndLeavesNoNativeMemoryBehind() throws IOException {
    Accelerator.Student whole = accelerator.out(temp.resolve("whole")).run();
    long before = Scope.liveObjects();
    Accelerator halves = accelerator.out(temp.resolve("halves"));
    assertThatThrownBy(() -> halves.run(new Stop())).isInstanceOf(StoppedException.class);
    assertThat(temp.resolve("halves/student")).doesNotExist();
    Accelerator.Student resumed = halves.resume();
    assertThat(Scope.liveObjects()).isLessThanOrEqualTo(before);

    assertThat(Fingerprint.of(DeltaFolder.weights(resumed.folder())))
        .isNotEqualTo(Fingerprint.of(DeltaFolder.weights(Golden.FOLDER)));
    try (DiffusionModel one = DiffusionModel.load(whole.folder(), DType.F32);
        DiffusionModel two = DiffusionModel.load(resumed.folder(), DType.F32)) {
      assertThat(Fingerprint.of(two.unet())).isEqualTo(Fingerprint.of(one.unet()));
      assertThat(two.schedulerConfig().path(SchedulerConfig.STEPS).asInt()).isEqualTo(2);
    }
    assertThat(resumed.delta()).exists();
    assertThat(resumed.loras()).isEmpty();
    assertThat(resumed.training().steps()).isEqualTo(3);
    assertThat(TrainingCurve.read(resumed.curve())).hasSize(3);
    assertThat(Json.read(temp.resolve("halves/config.json")))
        .isEqualTo(Json.MAPPER.readTree(halves.config().json().toString()));
    assertThatThrownBy(() -> halves.method(PerflowMethod.MEASURED, suited -> suited).resume())
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("perflow.windows (was 2, is 4)");
  }

  @Test
  void aLoraIsWrittenInBothFormats() throws IOException {
    Accelerator.Student made =
        accelerator.lora(new LoraOptions(2, 0)).out(temp.resolve("run")).run();
    assertThat(made.loras()).containsOnlyKeys(LoraFile.Format.KOHYA, LoraFile.Format.PEFT);
    assertThat(made.loras().values()).allMatch(Files::exists);
  }

  /** Beside the run's own teacher, whose base is not named here. */
  @Test
  void aRunExplainsItselfAndIsReadyToPublish() throws IOException {
    List<String> notes = new ArrayList<>();
    TrainListener listener =
        new TrainListener() {
          @Override
          public void onNote(String note) {
            notes.add(note);
          }
        };
    Path run = temp.resolve("run");
    Accelerator.Student made =
        accelerator.evaluate(4).command("perflow accelerate x").out(run).run(listener);
    assertThat(notes.get(0)).startsWith("memory: ").contains("activations of a batch of 2");
    EqualCost bought = Objects.requireNonNull(made.bought());
    assertThat(notes).last().isEqualTo(bought.sentence());
    assertThat(bought.rows())
        .extracting(EqualCost.Row::label)
        .startsWith("student", "teacher, ddim");
    assertThat(bought.rows()).extracting(EqualCost.Row::networkEvaluations).containsOnly(4);
    assertThat(bought.rows()).allMatch(row -> row.error() > 0 && row.error() < 1);
    assertThat(run.resolve("README.md"))
        .content()
        .contains(
            "    perflow accelerate x", bought.sentence(), "\"windows\": 2", "perflow generate");
    assertThat(ImageIO.read(run.resolve("samples.png").toFile()).getHeight()).isGreaterThan(64);

    Path card = ModelCard.of(run).withLicense("mit").withBaseModel("org/name").write();
    List<String> lines = Files.readAllLines(card);
    assertThat(card).isEqualTo(made.folder().resolve("README.md"));
    assertThat(made.folder().resolve("samples.png")).exists();
    assertThat(lines.get(0)).isEqualTo("---");
    String head =
        String.join("\n", lines.subList(1, lines.subList(1, lines.size()).indexOf("---") + 1));
    JsonNode yaml = new YAMLMapper().readTree(head);
    assertThat(yaml.path("license").asText()).isEqualTo("mit");
    assertThat(yaml.path("base_model").asText()).isEqualTo("org/name");
    assertThat(yaml.path("pipeline_tag").asText()).isEqualTo("text-to-image");
    assertThat(yaml.path("tags")).extracting(JsonNode::asText).contains("perflow");
    assertThat(card).content().contains("| student | 2 | 4 |").doesNotContain(temp.toString());
    assertThat(card) // what was tried: DDIM of one step a window draws the same
        .content()
        .contains("from diffusers import DDIMScheduler, DiffusionPipeline")
        .contains("prediction_type=\"epsilon\", timestep_spacing=\"trailing\", clip_sample=False")
        .contains("num_inference_steps=2, guidance_scale=");
    assertThatThrownBy(() -> ModelCard.of(run).withLicense("a: b").write())
        .hasMessageContaining("no identifier");
    assertThatThrownBy(() -> ModelCard.of(temp.resolve("none")).write())
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("no run that has ended");
  }

  /** What is read by name must suit the methods that they name. */
  @Test
  void presetsAreSettingsOfTheirMethods() throws IOException {
    Accelerator plain = Accelerator.of(Golden.FOLDER).data(temp.resolve("train-0.tar")).out(temp);
    for (String name : Presets.names()) {
      assertThat(Presets.about(name)).isNotEmpty();
      assertThat(plain.preset(name).config().train().steps()).isGreaterThanOrEqualTo(2000);
    }
    var sd15 = plain.preset("sd15").config().json();
    assertThat(sd15.at("/perflow-published/parameterization").asText()).isEqualTo("DIFF_EPS");
    assertThat(sd15.at("/train/learningRate").asDouble()).isEqualTo(8e-5);
    var changed = plain.preset("sd15").train(THREE_STEPS).config().json();
    assertThat(changed.at("/train/steps").asInt()).isEqualTo(3);
    assertThatThrownBy(() -> plain.preset("sd3")).hasMessageContaining("sd15");
  }

  /** The weights under the factors are the teacher's own memory, and stay what they are. */
  @Test
  void aTeacherInHalfItsBitsAndOneThatIsSharedTeachTheSame() throws IOException {
    accelerator.out(temp.resolve("own")).run();
    accelerator.teacherAs(DType.F32).out(temp.resolve("float32")).run();
    accelerator.teacherAs(DType.F16).out(temp.resolve("float16")).run();
    List<TrainingCurve.Point> own = TrainingCurve.read(temp.resolve("own/training.csv"));
    List<TrainingCurve.Point> same = TrainingCurve.read(temp.resolve("float32/training.csv"));
    List<TrainingCurve.Point> half = TrainingCurve.read(temp.resolve("float16/training.csv"));
    for (int i = 0; i < 3; i++) {
      assertThat(same.get(i).loss()).isEqualTo(own.get(i).loss());
      assertThat(half.get(i).loss()).isCloseTo(own.get(i).loss(), withinPercentage(1));
    }
  }

  @Test
  void refusesWhatCannotBeBeforeAnythingIsLoaded() throws IOException {
    Path out = temp.resolve("run");
    assertThatThrownBy(accelerator::run)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("a folder to write to");
    assertThatThrownBy(() -> Accelerator.of(temp.resolve("missing")).data(temp).out(out).run())
        .isInstanceOf(NoSuchFileException.class)
        .hasMessageContaining("no such model");
    assertThatThrownBy(() -> Accelerator.of(temp).data(temp).out(out).run())
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("is no diffusers folder");
    assertThatThrownBy(() -> accelerator.data(temp.resolve("missing.tar")).out(out).run())
        .isInstanceOf(NoSuchFileException.class)
        .hasMessageContaining("no such shard");
    assertThatThrownBy(() -> accelerator.method("perlow"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("perflow");
    Accelerator lcm = accelerator.method("lcm").lora(new LoraOptions(4, 0));
    assertThatThrownBy(() -> lcm.out(out).run())
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("no part of a LoRA");
    assertThatThrownBy(() -> accelerator.out(out).resume())
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("nothing to resume");
    assertThat(out.resolve("config.json")).doesNotExist();
  }
}
