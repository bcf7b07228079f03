package org.perflow.tensor;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;
import org.perflow.tensor.nn.Linear;
import org.perflow.tensor.optim.AdamW;
import org.perflow.tensor.optim.FlatParameters;

class DeviceTest {
  @ParameterizedTest
  @CsvSource({"auto,auto", "cpu,cpu", "CUDA,cuda:0", "cuda:1,cuda:1", " mps,mps", "meta,meta"})
  void isCalledAsUsersSay(String said, String name) {
    assertThat(Device.parse(said)).hasToString(name);
    assertThat(Device.parse(name)).isEqualTo(Device.parse(said));
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "gpu", "cuda:", "cuda:-1", "cuda:1x", "cuda:999", "cpu:0", "mps:1"})
  void saysWhichThereAre(String said) {
    assertThatThrownBy(() -> Device.parse(said))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("unknown device '" + said + "'; known: auto, cpu, cuda, cuda:1");
  }

  @Test
  void ofOtherNativesSaysHowToGetThem() {
    assumeFalse(Boolean.parseBoolean(Device.libraries().get("cuda")), "CUDA is here");
    assertThat(Device.AUTO.settled()).isEqualTo(Device.CPU);
    assertThatThrownBy(() -> Device.parse("cuda").settled())
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageMatching(".*cuda:0.*(PERFLOW_NATIVES=cuda|driver).*");
  }

  @Test
  void tensorsStayWhereTheyAreAndDoNotMix() {
    try (Scope scope = Scope.open();
        Rng rng = Rng.seeded(0)) {
      Tensor here = Tensor.full(1, 2, 3);
      Tensor there = here.to(Device.META);
      assertThat(here.device()).isEqualTo(Device.CPU);
      assertThat(here.to(Device.CPU)).isSameAs(here);
      assertThat(there.add(1).matmul(there.transpose(0, 1)).device()).isEqualTo(Device.META);
      assertThat(Tensor.randnLike(rng, there).device()).isEqualTo(Device.META);
      assertThatThrownBy(() -> there.add(here)).isInstanceOf(RuntimeException.class);
      assertThatThrownBy(there::item).isInstanceOf(RuntimeException.class);
      assertThatThrownBy(there::toFloatArray).isInstanceOf(RuntimeException.class);
      assertThatThrownBy(there::isFinite).isInstanceOf(RuntimeException.class);
      assertThatThrownBy(() -> there.bytes(0, 4)).hasMessageContaining("on meta");
    }
  }

  @Test
  void weightsAreDrawnCopiedAndMovedThere() {
    try (Linear model = new Linear(3, 2);
        Linear copy = new Linear(3, 2);
        Rng rng = Rng.seeded(0)) {
      model.initialise(rng, DType.F32);
      copy.to(Device.META);
      copy.copyFrom(model, DType.BF16);
      assertThat(copy.namedParameters().get("weight").value().device()).isEqualTo(Device.META);
      model.to(Device.META);
      assertThat(model.device()).isEqualTo(Device.META);
      assertThat(model.namedParameters().get("bias").value().device()).isEqualTo(Device.META);
      try (Scope scope = Scope.open()) {
        assertThatThrownBy(() -> model.forward(Tensor.full(1, 1, 3)))
            .isInstanceOf(RuntimeException.class);
      }
    }
  }

  /** Clipping and both moments, without a value being read. */
  @Test
  void anOptimiserStepReadsNothing() {
    try (Linear model = new Linear(3, 2);
        Rng rng = Rng.seeded(0)) {
      model.to(Device.META);
      model.initialise(rng, DType.F32);
      try (FlatParameters flat = new FlatParameters(model.namedParameters());
          AdamW optimiser = new AdamW(flat, AdamW.Options.DEFAULTS);
          Scope scope = Scope.open()) {
        model.forward(Tensor.full(1, 4, 3).to(Device.META)).square().mean().backward();
        assertThat(flat.clipGradients(1).device()).isEqualTo(Device.META);
        optimiser.step(0.1);
        assertThat(optimiser.state().values())
            .allMatch(moment -> moment.device().equals(Device.META));
      }
    }
  }
}
