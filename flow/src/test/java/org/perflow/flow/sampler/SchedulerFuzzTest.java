package org.perflow.flow.sampler;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.perflow.io.FormatException;
import org.perflow.io.Json;
import org.perflow.models.SchedulerConfig;

/**
 * Sampler configs with values at random, from a seed: each is refused by file, key and value, or
 * makes a sampler with times that can be drawn at, soon.
 */
class SchedulerFuzzTest {
  private static final List<String> KEYS =
      List.of(
          "num_train_timesteps",
          "beta_start",
          "beta_end",
          "beta_schedule",
          "trained_betas",
          "steps_offset",
          "set_alpha_to_one",
          "prediction_type",
          "timestep_spacing",
          "solver_order",
          "algorithm_type",
          "solver_type",
          "use_karras_sigmas",
          "use_beta_sigmas",
          "sigma_min",
          "sigma_max",
          "final_sigmas_type",
          "lambda_min_clipped",
          "rescale_betas_zero_snr",
          "eta",
          "original_inference_steps",
          "timestep_scaling",
          "shift",
          "num_time_windows",
          "t_clean",
          "clip_sample",
          "clip_sample_range",
          "lower_order_final",
          "euler_at_final",
          "disable_corrector",
          "recommended_num_inference_steps");
  private static final List<String> VALUES =
      List.of(
          "0",
          "1",
          "2",
          "3",
          "5",
          "10",
          "1000",
          "100000",
          "2147483647",
          "-1",
          "-5",
          "1e30",
          "1e-13",
          "0.00085",
          "0.5",
          "0.998",
          "NaN",
          "Infinity",
          "-Infinity",
          "null",
          "true",
          "false",
          "\"x\"",
          "\"linear\"",
          "\"leading\"",
          "\"trailing\"",
          "\"linspace\"",
          "\"v_prediction\"",
          "\"sample\"",
          "\"zero\"",
          "\"sigma_min\"",
          "\"squaredcos_cap_v2\"",
          "[]",
          "[0.1]",
          "[0.1, 0.2]",
          "{}");

  private final Random random = new Random(20);

  private <T> T any(List<T> list) {
    return list.get(random.nextInt(list.size()));
  }

  private void samplers(int count) throws IOException {
    int made = 0;
    for (int i = 0; i < count; i++) {
      ObjectNode config = Json.MAPPER.createObjectNode();
      config.put("_class_name", any(SchedulerConfig.CLASSES));
      for (int k = random.nextInt(4); k >= 0; k--) {
        config.set(any(KEYS), Json.MAPPER.readTree(any(VALUES)));
      }
      int steps = 1 + random.nextInt(30);
      made +=
          assertTimeoutPreemptively(Duration.ofSeconds(30), () -> isMade(config, steps)) ? 1 : 0;
    }
    assertThat(made).isBetween(1, count - 1);
  }

  private static boolean isMade(ObjectNode config, int steps) {
    String what = config + " in " + steps + " steps";
    try (Scheduler scheduler =
        Schedulers.create(SchedulerConfig.checked("scheduler_config.json", config), steps)) {
      assertThat(Arrays.stream(scheduler.timesteps())).as(what).allMatch(Double::isFinite);
      return true;
    } catch (FormatException e) {
      assertThat(e.getMessage()).as(what).startsWith("scheduler_config.json: ");
      return false;
    } catch (IllegalArgumentException e) { // options that do not go together
      assertThat(e.getMessage()).as(what).isNotBlank();
      return false;
    } catch (Throwable e) { // also errors of the virtual machine
      throw new AssertionError(what, e);
    }
  }

  @Test
  void configsAreRefusedOrMakeSamplers() throws IOException {
    samplers(400);
  }

  @Tag("slow")
  @Test
  void manyConfigsAreRefusedOrMakeSamplers() throws IOException {
    samplers(50_000);
  }
}
