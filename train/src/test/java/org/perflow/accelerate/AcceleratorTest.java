package org.perflow.accelerate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.delta.DeltaFolder;
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
