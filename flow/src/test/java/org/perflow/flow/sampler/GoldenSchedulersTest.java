package org.perflow.flow.sampler;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;
import org.perflow.flow.Golden;
import org.perflow.io.Json;
import org.perflow.io.SafetensorsFile;
import org.perflow.pipeline.SeededNoise;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/** Every sampler against diffusers' of the same config under the same network and noise. */
class GoldenSchedulersTest {
  /**
   * A run that diffusers did: {@code NAME.STEPS.timesteps} and {@code .states} of a file.
   *
   * @param file in the folder of reference tensors
   * @param config class and options, as in a {@code scheduler_config.json}
   */
  record Case(String file, String key, ObjectNode config) {
    int steps() {
      return Integer.parseInt(key.substring(key.indexOf('.') + 1));
    }

    @Override
    public String toString() {
      return key;
    }
  }

  static Stream<Case> cases() throws IOException {
    List<Case> cases = new ArrayList<>();
    for (String name : List.of("schedulers.safetensors", "schedulers_more.safetensors")) {
      try (SafetensorsFile file = SafetensorsFile.open(Golden.FOLDER.resolve(name))) {
        JsonNode described = Json.MAPPER.readTree(file.metadata().get("cases"));
        described
            .fieldNames()
            .forEachRemaining(key -> cases.add(new Case(name, key, config(described.get(key)))));
      }
    }
    return cases.stream();
  }

  private static ObjectNode config(JsonNode described) {
    ObjectNode config = described.deepCopy();
    config.set("_class_name", config.remove("cls"));
    return config;
  }

  @ParameterizedTest
  @MethodSource("cases")
  void asDiffusers(Case run) throws IOException {
    ObjectNode config = run.config();
    boolean stochastic = config.has("seed");
    if (run.key().startsWith("ddim_eta1")) {
      config.put("eta", 1.0); // an argument of diffusers' step, not an option
    }
    try (SafetensorsFile file = SafetensorsFile.open(Golden.FOLDER.resolve(run.file()));
        Scope scope = Scope.open();
        SeededNoise noise = new SeededNoise(config.path("seed").asLong(5));
        Scheduler sampler = Schedulers.create(config, run.steps())) {
      assertThat(sampler.timesteps())
          .containsExactly(file.read(run.key() + ".timesteps").toDoubleArray(), within(1e-3));
      Tensor expected = file.read(run.key() + ".states");
      Tensor states = states(sampler, expected, stochastic ? noise : Golden.NO_NOISE);
      assertThat(states.isFinite()).isTrue();
      // diffusers' UniPC with bh1 ends in −∞ × 0; ours in the predicted data
      long rows = expected.size(0) - (run.key().contains("bh1.") ? 1 : 0);
      assertThat(Golden.error(run.key(), states.narrow(0, 0, rows), expected.narrow(0, 0, rows)))
          .isLessThan(1e-4);
    }
  }

  /** All states from the first of {@code expected}. */
  static Tensor states(Scheduler sampler, Tensor expected, Scheduler.NoiseSource noise) {
    List<Tensor> states = new ArrayList<>();
    Tensor z = expected.select(0, 0);
    states.add(z);
    double[] timesteps = sampler.timesteps();
    for (int i = 0; i < timesteps.length; i++) {
      Tensor output = Golden.network(sampler.scaleModelInput(z, i), timesteps[i]);
      z = sampler.step(output, i, z, noise);
      states.add(z);
    }
    return Tensor.stack(0, states);
  }

  @Test
  void allCases() throws IOException {
    assertThat(cases().filter(run -> run.file().equals("schedulers.safetensors"))).hasSize(65);
  }
}
