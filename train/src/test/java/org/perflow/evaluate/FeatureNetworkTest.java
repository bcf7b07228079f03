package org.perflow.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.tensor.Compute;
import org.perflow.tensor.DType;
import org.perflow.tensor.Functional;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

class FeatureNetworkTest {
  private static final FeatureNetwork.Config TINY =
      new FeatureNetwork.Config("tiny", 16, List.of(8, 16), 4, 4);

  private static final String UNKNOWN_KEY =
      """
      {"name": "x", "sample_size": 16, "channels": [8, 16], "norm_num_groups": 4,
       "num_concepts": 4, "layers": 3}
      """;

  @Test
  void learnsToTellPicturesApartThatItSawInOtherAugmentations() {
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(5);
        FeatureNetwork network = new FeatureNetwork(TINY)) {
      network.initialise(rng, DType.F32);
      Tensor pictures = Tensor.rand(rng, 4, 3, 4, 4).mul(255).round().to(DType.U8);
      Tensor large = upsample(pictures);
      double[] losses = new double[150];
      FeatureTraining.Options options =
          new FeatureTraining.Options(losses.length, 16, 1e-2, 0, 0, Compute.F32);
      FeatureTraining.train(network, large, options, (step, loss) -> losses[step] = loss);
      assertThat(losses[0]).isCloseTo(Math.log(4), within(0.3));
      assertThat(losses[losses.length - 1]).isLessThan(0.5);
      assertThat(FeatureTraining.accuracy(network, large, 4, 99)).isGreaterThan(0.8);
    }
  }

  @Test
  void aSavedNetworkHasTheSameFeatures(@TempDir Path folder) throws IOException {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        Rng rng = Rng.seeded(6);
        FeatureNetwork network = new FeatureNetwork(TINY)) {
      network.initialise(rng, DType.F32);
      network.save(folder, DType.F32, Map.of("note", "test"));
      Tensor pictures = Tensor.randn(rng, 2, 3, 16, 16);
      try (FeatureNetwork loaded = FeatureNetwork.load(folder)) {
        assertThat(loaded.config()).isEqualTo(TINY);
        assertThat(loaded.name()).isEqualTo("tiny");
        assertThat(loaded.fingerprint()).isEqualTo(network.fingerprint());
        assertThat(loaded.features(pictures).shape()).containsExactly(2, 16);
        assertThat(loaded.features(pictures).toFloatArray())
            .containsExactly(network.features(pictures).toFloatArray());
      }
    }
  }

  @Test
  void theShippedNetworkLoadsAndSeesBlurAsFurtherAwayThanFaintNoise() throws IOException {
    Path shipped = Path.of("..", "models", "emoji-features"); // tests run in the module's folder
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        Rng rng = Rng.seeded(8);
        FeatureNetwork network = FeatureNetwork.load(shipped)) {
      assertThat(network.name()).isEqualTo("emoji-features");
      Tensor blocks = Tensor.rand(rng, 24, 3, 4, 4).mul(2).sub(1);
      Tensor sharp = Functional.upsampleNearest(blocks, 64, 64);
      Tensor faint = sharp.add(Tensor.randn(rng, sharp.shape()).mul(0.01));
      Tensor blurred = Functional.upsampleNearest(Functional.averagePool(blocks, 2), 64, 64);
      Frechet.Gaussian reference = Frechet.Gaussian.of(network.features(sharp));
      double near = Frechet.distance(Frechet.Gaussian.of(network.features(faint)), reference);
      double far = Frechet.distance(Frechet.Gaussian.of(network.features(blurred)), reference);
      assertThat(near).isPositive().isLessThan(far / 10);
      assertThat(network.features(sharp).size(1)).isEqualTo(128);
    }
  }

  @Test
  void refusesPicturesOfAnotherSizeAndConfigsWithUnknownKeys(@TempDir Path folder)
      throws IOException {
    try (Scope scope = Scope.open();
        FeatureNetwork network = new FeatureNetwork(TINY)) {
      assertThatThrownBy(() -> network.features(Tensor.full(0, 1, 3, 64, 64)))
          .hasMessageContaining("[B, 3, 16, 16]")
          .hasMessageContaining("[1, 3, 64, 64]");
    }
    Files.writeString(folder.resolve("config.json"), UNKNOWN_KEY);
    assertThatThrownBy(() -> FeatureNetwork.load(folder)).hasMessageContaining("layers");
  }

  @Test
  void augmentationKeepsWhiteGroundAndMeanInk() {
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(7)) {
      Tensor white = Tensor.full(255, 64, 3, 32, 32).to(DType.U8);
      Tensor views = FeatureTraining.augment(white, rng);
      assertThat(views.mean().item()).isCloseTo(1, within(0.02));
      Tensor black = white.copy();
      black.narrow(2, 12, 8).narrow(3, 12, 8).zeroInPlace(); // a square in the middle
      double ink = FeatureTraining.augment(black, rng).neg().add(1).mean().item() / 2;
      assertThat(ink).isCloseTo(64.0 / 1024, within(0.012)); // stretched by 1 on average
      assertThat(FeatureTraining.augment(white, rng).dtype()).isEqualTo(DType.F32);
    }
  }

  private static Tensor upsample(Tensor pictures) {
    Tensor large = pictures.reshape(4, 3, 4, 1, 4, 1).expand(4, 3, 4, 4, 4, 4);
    return large.reshape(4, 3, 16, 16);
  }
}
