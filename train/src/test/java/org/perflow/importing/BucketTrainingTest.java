package org.perflow.importing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.accelerate.Accelerator;
import org.perflow.distill.consistency.LcmMethod;
import org.perflow.distill.perflow.PerflowMethod;
import org.perflow.flow.Conditioning;
import org.perflow.io.Shards;
import org.perflow.models.AddedConditions;
import org.perflow.models.DiffusionModel;
import org.perflow.tensor.Compute;
import org.perflow.tensor.DType;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.train.CachedExamples;
import org.perflow.train.Catalogue;
import org.perflow.train.Golden;
import org.perflow.train.TrainListener;
import org.perflow.train.TrainOptions;

/** Pictures of several shapes, from files to a student. */
class BucketTrainingTest {
  private static final Path XL = Golden.FOLDER.resolveSibling("sdxl");
  private static final TrainOptions FEW_STEPS =
      TrainOptions.DEFAULTS.withSteps(6).withBatch(2).withWarmup(0).withCompute(Compute.F32);

  @TempDir private Path temp;
  private Path data;

  @BeforeEach
  void pictures() throws IOException {
    PhotoFolder photos = new PhotoFolder(temp.resolve("photos"));
    photos.put("wide", "jpg", PhotoFolder.picture(160, 80, 1), "wide");
    photos.put("high1", "png", PhotoFolder.picture(72, 148, 2), "high");
    photos.put("high2", "png", PhotoFolder.picture(32, 64, 3), "high, too");
    photos.put("square", "png", PhotoFolder.picture(100, 90, 4), "square");
    data = temp.resolve("data");
    ImportOptions options = ImportOptions.DEFAULTS.withBucketStep(8).withBuckets(48).withHeldOut(0);
    Imported imported = DataImport.of(photos.path()).options(options).out(data).run();
    assertThat(imported.sizes()).containsOnlyKeys("64x32", "32x64", "48x48").containsValue(2);
  }

  @Test
  void xlIsToldWhatWasDoneToEachPicture() throws IOException {
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(1);
        DiffusionModel model = DiffusionModel.load(XL, DType.F32);
        CachedExamples examples =
            CachedExamples.of(
                model,
                Catalogue.of(Shards.train(List.of(data))),
                temp.resolve("cache"),
                DType.F32,
                0)) {
      assertThat(examples.groups()).hasSize(3);
      long[] high = {0, 1};
      Conditioning told = examples.conditions(high, rng);
      AddedConditions added = told.added();
      assertThat(added).isNotNull();
      // 72x148 becomes 32 pixels wide and 66 high, of which one is cut above
      assertThat(rows(added.timeIds()))
          .containsExactly(148, 72, 1, 0, 64, 32, 64, 32, 0, 0, 64, 32);
      Tensor latents = examples.latents(high, rng);
      long down = model.vae().config().downsampling();
      assertThat(Arrays.copyOfRange(latents.shape(), 2, 4)).containsExactly(64 / down, 32 / down);
      assertThatThrownBy(() -> examples.latents(new long[] {0, 2}, rng))
          .hasMessageContaining("of two sizes");
      assertThatThrownBy(examples::shape).hasMessageContaining("of 3 sizes");

      // neither a dropped caption nor guidance changes the sizes
      Conditioning dropped = told.keep(new boolean[] {false, true}, examples.nullCondition());
      assertThat(rows(dropped.added().timeIds())).isEqualTo(rows(added.timeIds()));
      Conditioning none = examples.nullCondition().rowsLike(told);
      assertThat(rows(none.added().timeIds())).isEqualTo(rows(added.timeIds()));
    }
  }

  private static double[] rows(Tensor sizes) {
    return sizes.contiguous().toDoubleArray();
  }

  @Test
  void studentsLearnFromAllShapes() throws IOException {
    StringBuilder notes = new StringBuilder();
    TrainListener listener =
        new TrainListener() {
          @Override
          public void onNote(String note) {
            notes.append(note).append('\n');
          }
        };
    for (Path teacher : List.of(Golden.FOLDER, XL)) {
      String name = teacher.getFileName().toString();
      Accelerator accelerator =
          Accelerator.of(teacher)
              .data(data)
              .train(FEW_STEPS)
              .cache(temp.resolve("cache-" + name))
              .method(
                  PerflowMethod.MEASURED,
                  suited -> suited.withWindows(2).withSolvingSteps(2).withChordPool(0));
      accelerator.out(temp.resolve("perflow-" + name)).run(listener);
      assertThat(temp.resolve("perflow-" + name + "/student/delta.safetensors")).exists();
      long before = Scope.liveObjects();
      accelerator.out(temp.resolve("again-" + name)).run();
      assertThat(Scope.liveObjects()).isLessThanOrEqualTo(before);
    }
    assertThat(notes.toString())
        .contains("pictures of 3 sizes, one a batch; 2 of them have fewer than the 2 of a batch");
    Accelerator.of(Golden.FOLDER)
        .data(data)
        .train(FEW_STEPS)
        .method(LcmMethod.TOLD, suited -> suited)
        .out(temp.resolve("lcm"))
        .run();
  }

  @Test
  void whatKeepsPicturesOfOneSizeRefusesSeveral() {
    Accelerator pooled =
        Accelerator.of(Golden.FOLDER)
            .data(data)
            .train(FEW_STEPS)
            .method(
                PerflowMethod.MEASURED,
                suited -> suited.withWindows(2).withSolvingSteps(2).withChordPool(64))
            .out(temp.resolve("pooled"));
    assertThatThrownBy(pooled::run)
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("3 sizes")
        .hasMessageContaining("chordPool of 0");
  }
}
