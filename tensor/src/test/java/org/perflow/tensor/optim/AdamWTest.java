package org.perflow.tensor.optim;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.util.Map;
import org.junit.jupiter.api.Test;
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
