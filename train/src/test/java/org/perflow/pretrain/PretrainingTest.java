package org.perflow.pretrain;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.io.FolderLock;
import org.perflow.io.Json;
import org.perflow.models.DiffusionModel;
import org.perflow.pretrain.Pretraining.Keep;
import org.perflow.tensor.Compute;
import org.perflow.tensor.DType;
import org.perflow.tensor.Scope;
import org.perflow.train.Golden;
import org.perflow.train.TrainListener;
import org.perflow.train.TrainOptions;
import org.perflow.train.TrainingCurve;

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

  /** In the order of a run: whose folder it is, what it takes in memory, the work. */
  @Test
  void tellsWhatItTakesBeforeItBegins() throws Exception {
    Pretraining pretraining =
        Pretraining.like(Golden.FOLDER)
            .data(Golden.shard(temp.resolve("train-0.tar")))
            .vaeSteps(1)
            .train(ONE_STEP)
            .out(temp.resolve("run"));
    List<String> told = new ArrayList<>();
    TrainListener listener =
        new TrainListener() {
          @Override
          public void onNote(String note) {
            told.add(note);
          }

          @Override
          public void onStart(String name) {
            told.add(name);
          }
        };
    pretraining.run(listener);
    assertThat(told.get(0)).isEqualTo(pretraining.memory().text());
    assertThat(told.get(0)).contains("activations of a batch of 2");
    assertThat(told).containsSubsequence("vae", "pretrain");

    Path missing = temp.resolve("train-1.tar");
    Files.createFile(missing); // no shard: it would be refused when it is read
    Pretraining taken = pretraining.data(missing).out(temp.resolve("taken"));
    ExecutorService other = Executors.newSingleThreadExecutor();
    FolderLock lock = other.submit(() -> FolderLock.take(temp.resolve("taken"))).get();
    try {
      assertThatThrownBy(taken::run).hasMessageContaining("is being written by another perflow");
    } finally {
      lock.close();
      other.shutdown();
    }
  }

  /** As it is where it fits, and refused where nothing helps. */
  @Test
  void takesLessMemoryWhereItMust() throws IOException {
    Pretraining pretraining =
        Pretraining.like(Golden.FOLDER)
            .data(Golden.shard(temp.resolve("train-0.tar")))
            .train(ONE_STEP)
            .out(temp.resolve("run"));
    assertThat(pretraining.lowMemory().config()).isEqualTo(pretraining.config());
    Pretraining huge = pretraining.train(ONE_STEP.withBatch(1_000_001).withCompute(Compute.F32));
    assertThatThrownBy(huge::lowMemory)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("do not make it fit");
  }

  @Test
  void refusesWhatCannotBeBeforeAnythingIsLoaded() {
    Pretraining nowhere = Pretraining.like(temp.resolve("missing"));
    assertThatThrownBy(nowhere::run).hasMessageContaining("needs data to learn from");
    assertThatThrownBy(() -> nowhere.keep(Set.of(Keep.TEXT_ENCODER)))
        .hasMessageContaining("keep its weights, too");
  }
}
