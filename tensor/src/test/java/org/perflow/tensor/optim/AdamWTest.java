package org.perflow.tensor.optim;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.perflow.tensor.DType;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Linear;
import org.perflow.tensor.nn.Parameter;

class AdamWTest {
  /**
   * Three clipped steps on Σ(w - ½)³ from (1, -2, 3), lr 0.1, decay 0.01: torch.optim.AdamW 2.13.
   */
  @Test
  void stepsAsPyTorchDoes() {
    double[] norms = {26.527109146118164, 26.596067428588867, 26.92554473876953};
    float[] last = {0.7109507917858349f, -2.294147253036499f, 2.692558526992798f};
    try (Scope scope = Scope.open();
        Linear layer = new Linear(3, 1, false)) {
      Parameter weight = layer.namedParameters().get("weight");
      layer.initialise(Rng.seeded(0), DType.F32);
      try (FlatParameters flat = new FlatParameters(Map.of("weight", weight));
          AdamW optimiser = new AdamW(flat, AdamW.Options.DEFAULTS)) {
        flat.values().copyInPlace(Tensor.of(new float[] {1, -2, 3}));
        for (double norm : norms) {
          flat.zeroGradients();
          weight.value().sub(0.5).pow(3).sum().backward();
          assertThat(flat.clipGradients(1).item()).isCloseTo(norm, within(1e-4));
          optimiser.step(0.1);
        }
        float[] values = weight.value().toFloatArray();
        for (int i = 0; i < last.length; i++) {
          assertThat(values[i]).isCloseTo(last[i], within(1e-6f));
        }
      }
    }
  }

  /**
   * Beside float32, on a least-squares problem whose gradients span one power of ten among
   * neighbours, and five in all.
   */
  @ParameterizedTest
  @CsvSource({"BFLOAT16, 0.02", "INT8, 0.1"})
  void momentsOfFewerBitsFollowExactOnes(Moments moments, double most) {
    int count = 3000; // no whole number of blocks
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(1)) {
      Tensor start = Tensor.randn(rng, count);
      Tensor powers = Tensor.generate(count, i -> i / 256 % 4 - 3).add(Tensor.rand(rng, count));
      Tensor slopes = powers.mul(Math.log(10)).exp();
      float[] exact = trained(start, slopes, Moments.FLOAT32);
      float[] shorter = trained(start, slopes, moments);
      float[] begun = start.toFloatArray();
      double off = 0;
      double moved = 0;
      for (int i = 0; i < count; i++) {
        off += Math.pow(shorter[i] - exact[i], 2);
        moved += Math.pow(exact[i] - begun[i], 2);
      }
      assertThat(Math.sqrt(off / moved)).isBetween(1e-6, most);
    }
  }

  private static float[] trained(Tensor start, Tensor slopes, Moments moments) {
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(2);
        Linear layer = new Linear((int) start.numel(), 1, false)) {
      Parameter weight = layer.namedParameters().get("weight");
      layer.initialise(rng, DType.F32);
      try (FlatParameters flat = new FlatParameters(Map.of("weight", weight));
          AdamW optimiser = new AdamW(flat, AdamW.Options.DEFAULTS, moments)) {
        flat.values().copyInPlace(start);
        for (int step = 0; step < 300; step++) {
          Tensor noise = Tensor.randn(rng, start.shape()).mul(0.3);
          flat.gradients().copyInPlace(flat.values().add(noise).mul(slopes));
          optimiser.step(1e-3);
        }
        return flat.values().toFloatArray();
      }
    }
  }

  /** A second moment of 1 that decays by β₂ a step: bfloat16 to the nearest would stay at 1. */
  @Test
  void aShortSecondMomentDecays() {
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(0);
        PlainMoment moment = new PlainMoment(DType.BF16, Tensor.zeros(DType.F32, 10_000), rng)) {
      moment.write(0, Tensor.full(1, 10_000));
      for (int step = 0; step < 700; step++) {
        moment.write(0, moment.read(0, 10_000).mul(0.999));
      }
      assertThat(moment.read(0, 10_000).mean().item())
          .isCloseTo(Math.pow(0.999, 700), within(2e-3));
    }
  }

  /** The first and last entries of bitsandbytes' create_dynamic_map, and its size. */
  @Test
  void theTableOfEightBitsIsThePublishedOne() {
    double[] signed = BlockwiseMoment.table(true);
    double[] unsigned = BlockwiseMoment.table(false);
    assertThat(signed).hasSize(256).isSorted().doesNotHaveDuplicates();
    assertThat(unsigned).hasSize(256).isSorted().doesNotHaveDuplicates();
    assertThat(signed[0]).isCloseTo(-0.99296875, within(1e-12)); // 0.1 + 0.9 · 63.5/64
    assertThat(signed[255]).isEqualTo(1);
    assertThat(signed[127]).isZero();
    assertThat(signed[128]).isCloseTo(0.55e-6, within(1e-15));
    assertThat(unsigned[0]).isZero();
    assertThat(unsigned[1]).isCloseTo(0.325e-6, within(1e-15));
    assertThat(unsigned[254]).isCloseTo(0.996484375, within(1e-12));
  }

  @Test
  void eightBitsKeepTheLargestOfABlockAndItsZeros() {
    try (Scope scope = Scope.open();
        BlockwiseMoment moment = new BlockwiseMoment(Tensor.zeros(DType.F32, 600), true)) {
      assertThat(moment.read(0, 600).abs().max().item()).isZero();
      Tensor values =
          Tensor.generate(600, i -> i % 3 == 0 ? 0 : Math.sin(i) * (i < 256 ? 1e-9 : 5));
      moment.write(0, values);
      float[] read = moment.read(0, 600).toFloatArray();
      float[] wanted = values.toFloatArray();
      for (int i = 0; i < 600; i++) {
        double scale = i < 256 ? 1e-9 : 5;
        assertThat((double) read[i]).isCloseTo(wanted[i], within(0.0075 * scale));
        assertThat(i % 3 != 0 || read[i] == 0).isTrue();
      }
    }
  }

  @Test
  void emaWarmsUpAndSwaps() {
    try (Scope scope = Scope.open();
        Linear layer = new Linear(1, 1, false)) {
      layer.initialise(Rng.seeded(0), DType.F32);
      Parameter weight = layer.namedParameters().get("weight");
      try (FlatParameters flat = new FlatParameters(Map.of("weight", weight))) {
        flat.values().zeroInPlace();
        try (Ema ema = new Ema(flat, 0.9)) {
          flat.values().addInPlace(1);
          ema.update(); // decay 1/10
          assertThat(ema.values().item()).isCloseTo(0.9, within(1e-6));
          ema.update(); // decay 2/11
          assertThat(ema.values().item()).isCloseTo(0.9 * 2 / 11 + 9.0 / 11, within(1e-6));
          ema.applied(() -> assertThat(weight.value().item()).isLessThan(1));
          assertThat(weight.value().item()).isEqualTo(1);
        }
      }
    }
  }

  @Test
  void optionsAreChecked() {
    assertThatThrownBy(() -> new AdamW.Options(1.5, 0.9, 1e-8, 0))
        .hasMessageContaining("betas must lie in [0, 1)");
  }
}
