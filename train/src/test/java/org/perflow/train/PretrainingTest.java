package org.perflow.train;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.io.Json;
import org.perflow.models.DiffusionModel;
import org.perflow.tensor.DType;
import org.perflow.tensor.Scope;
import org.perflow.train.Pretraining.Keep;

/** A teacher from scratch, of a tiny model's shape. */
class PretrainingTest {
  private static final TrainOptions ONE_STEP = TrainOptions.DEFAULTS.withSteps(1).withBatch(2);

  @TempDir Path temp;

  @Test
  void makesATeacherAndLeavesNoNativeMemoryBehind() throws IOException {
    Pretraining pretraining =
        Pretraining.like(Golden.FOLDER)
            .data(Golden.shard(temp.resolve("train-0.tar")))
            .vaeSteps(1)
            .train(ONE_STEP);
    List<String> trained = new ArrayList<>();
    TrainListener listener =
        new TrainListener() {
          @Override
          public void onStart(String name) {
            trained.add(name);
          }
        };
    pretraining.out(temp.resolve("warm-up")).run(); // what is made once and stays
    long before = Scope.liveObjects();
    Pretraining.Teacher made = pretraining.out(temp.resolve("run")).run(listener);
    assertThat(Scope.liveObjects()).isLessThanOrEqualTo(before);

    assertThat(trained).containsExactly("vae", "pretrain");
    assertThat(made.training().steps()).isEqualTo(1);
    assertThat(TrainingCurve.read(made.curve())).hasSize(1);
    assertThat(Json.read(temp.resolve("run/config.json")).at("/inputs/vaeSteps").asInt()).isOne();
    try (DiffusionModel model = DiffusionModel.load(made.folder(), DType.F32)) {
      assertThat(model.vae().config().scalingFactor()).isNotEqualTo(1); // measured
    }
  }

  @Test
  void refusesWhatCannotBeBeforeAnythingIsLoaded() {
    Pretraining nowhere = Pretraining.like(temp.resolve("missing"));
    assertThatThrownBy(nowhere::run).hasMessageContaining("needs data to learn from");
    assertThatThrownBy(() -> nowhere.keep(Set.of(Keep.TEXT_ENCODER)))
        .hasMessageContaining("keep its weights, too");
  }
}
