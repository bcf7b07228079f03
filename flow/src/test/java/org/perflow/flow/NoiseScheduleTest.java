package org.perflow.flow;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;
import static org.assertj.core.api.Assertions.withinPercentage;

import com.fasterxml.jackson.databind.node.ObjectNode;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.perflow.io.Json;
import org.perflow.tensor.DType;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

public class NoiseScheduleTest {
  public static ObjectNode perflowConfig() {
    return Json.MAPPER.createObjectNode().put("_class_name", "PeRFlowScheduler");
  }

  public static NoiseSchedule exact() {
    return NoiseSchedule.of(perflowConfig(), DType.F64);
  }

  @ParameterizedTest
  @CsvSource({
    "0, 0.99915000, 0.9991499782, 0.99957491, 0.02915476",
    "249, 0.6754324137, 0.6754320860, 0.82184695, 0.56970833",
    "250, 0.6737926252, 0.6737923026, 0.82084872, 0.57114567",
    "499, 0.2776696505, 0.2776694298, 0.52694369, 0.84990020",
    "500, 0.2763326838, 0.2763324678, 0.52567355, 0.85068638",
    "749, 0.0566234916, 0.0566234477, 0.23795691, 0.97127571",
    "750, 0.0561698480, 0.0561698042, 0.23700179, 0.97150921",
    "998, 0.0047166989, 0.0047166958, 0.06867823, 0.99763886",
    "999, 0.0046600985, 0.0046600951, 0.06826491, 0.99766723"
  })
  void theStableDiffusionTable(int i, double f64, double f32, double alpha, double sigma) {
    assertThat(exact().alphaBar(i)).isCloseTo(f64, within(6e-11));
    assertThat(exact().alpha(i)).isCloseTo(alpha, within(6e-9));
    assertThat(exact().sigma(i)).isCloseTo(sigma, within(6e-9));
    NoiseSchedule single = NoiseSchedule.stableDiffusion();
    assertThat((float) single.alphaBar(i)).isEqualTo((float) f32);
    assertThat(single.alpha(i)).isEqualTo((float) Math.sqrt((float) f32));
  }

  @Test
  void float32SumIsLibtorchs() {
    NoiseSchedule schedule = NoiseSchedule.stableDiffusion();
    double sum = 0;
    for (int i = 0; i < schedule.size(); i++) {
      sum += schedule.alphaBar(i);
    }
    assertThat(sum).isCloseTo(373.37647126, within(1e-4));
  }

  @Test
  void finalLevelFollowsTheDefaultsOfEachClass() {
    ObjectNode config = Json.MAPPER.createObjectNode();
    assertThat(NoiseSchedule.of(config).finalAlphaBar()).isEqualTo(1);
    config.put("_class_name", "DDIMScheduler");
    assertThat(NoiseSchedule.of(config).finalAlphaBar()).isEqualTo(1);
    config.put("set_alpha_to_one", false);
    NoiseSchedule schedule = NoiseSchedule.of(config);
    assertThat(schedule.finalAlphaBar()).isEqualTo(schedule.alphaBar(0));
    assertThat(NoiseSchedule.of(perflowConfig()).finalAlphaBar()).isLessThan(1);
    assertThat(schedule.withAlphaToOne(true).alphaBar(-1)).isEqualTo(1);
  }

  @Test
  void linearCosineAndExplicitBetas() {
    ObjectNode linear = Json.MAPPER.createObjectNode();
    assertThat(NoiseSchedule.of(linear).alphaBar(999)).isCloseTo(4.0358e-5, within(1e-8));
    ObjectNode cosine = Json.MAPPER.createObjectNode().put("beta_schedule", "squaredcos_cap_v2");
    double start = Math.cos(0.008 / 1.008 * Math.PI / 2);
    double half = Math.cos(0.508 / 1.008 * Math.PI / 2);
    assertThat(NoiseSchedule.of(cosine).alphaBar(499))
        .isCloseTo(half * half / (start * start), within(1e-5));
    ObjectNode explicit = Json.MAPPER.createObjectNode();
    explicit.put("num_train_timesteps", 2).putArray("trained_betas").add(0.5).add(0.25);
    assertThat(NoiseSchedule.of(explicit).alphaBar(1)).isEqualTo(0.375);
    assertThat(NoiseSchedule.of(explicit).size()).isEqualTo(2);
    assertThatThrownBy(() -> NoiseSchedule.of(explicit.put("num_train_timesteps", 3)))
        .hasMessage("trained_betas: got 2 numbers, expected as many as num_train_timesteps, 3");
  }

  @ParameterizedTest // of diffusers' DDPMScheduler and HeunDiscreteScheduler
  @CsvSource({
    "sigmoid, 0.3019309938, 3.968182136e-5",
    "laplace, 0.7074603438, 0.0316227749",
    "exp, 0.002478785813, 6.144378858e-6"
  })
  void rarerSchedules(String kind, double middle, double last) {
    ObjectNode config = Json.MAPPER.createObjectNode().put("beta_schedule", kind);
    NoiseSchedule schedule = NoiseSchedule.of(config);
    assertThat(schedule.alphaBar(499)).isCloseTo(middle, withinPercentage(1e-3));
    assertThat(schedule.alphaBar(999)).isCloseTo(last, withinPercentage(1e-3));
  }

  @Test
  void zeroTerminalSnr() { // values of Lin et al.'s algorithm on Stable Diffusion's table
    NoiseSchedule schedule =
        NoiseSchedule.of(perflowConfig().put("rescale_betas_zero_snr", true), DType.F64);
    assertThat(schedule.alphaBar(0)).isCloseTo(0.99915, within(1e-6));
    assertThat(schedule.alphaBar(499)).isCloseTo(0.242359, within(1e-6));
    assertThat(schedule.alphaBar(998)).isCloseTo(1.968e-7, within(1e-10));
    assertThat(schedule.alphaBar(999)).isZero();
  }

  @Test
  void noiseIsAddedRowByRow() {
    try (Scope scope = Scope.open()) {
      NoiseSchedule schedule = NoiseSchedule.stableDiffusion();
      Tensor z0 = Tensor.of(new float[] {1, 1}, 2, 1);
      Tensor noise = Tensor.of(new float[] {2, 2}, 2, 1);
      assertThat(schedule.addNoise(z0, noise, new int[] {999, 0}).toFloatArray())
          .containsExactly(
              new float[] {0.06826491f + 2 * 0.99766723f, 0.99957491f + 2 * 0.02915476f},
              within(1e-6f));
    }
  }

  @Test
  void unknownScheduleNamesTheNearest() {
    ObjectNode config = Json.MAPPER.createObjectNode().put("beta_schedule", "scaled-linear");
    assertThatThrownBy(() -> NoiseSchedule.of(config))
        .hasMessageContaining("'scaled-linear'")
        .hasMessageContaining("did you mean 'scaled_linear'?");
  }
}
