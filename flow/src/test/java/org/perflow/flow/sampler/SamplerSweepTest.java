package org.perflow.flow.sampler;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.function.IntToDoubleFunction;
import java.util.function.Predicate;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.perflow.flow.Golden;
import org.perflow.flow.NoiseSchedule;
import org.perflow.io.Json;
import org.perflow.io.SafetensorsFile;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Random configs of every class, in one step to as many as the model has levels, from noise or from
 * the middle, against what diffusers makes of them ({@code tools/golden_sampler_sweep.py}): the
 * same times and states, or a refusal that names the option.
 */
class SamplerSweepTest {
  /**
   * Of the largest value. Both sides compute in double from the same float32 tables. Ours rounds √ᾱ
   * and √(1−ᾱ) to float32, as PyTorch does where it is not told to use doubles; levels that are
   * spread by a power are rounded to float32 after each library's own power.
   */
  private static final double TOLERANCE = 2e-5;

  private static final double TIME_TOLERANCE = 2e-3; // of fractional ones, interpolated in float32

  /** What diffusers draws and this library refuses: a word of the message, and when. */
  private static final Map<String, Predicate<Run>> REFUSED =
      Map.ofEntries(
          Map.entry("use_flow_sigmas = true", run -> run.known().flag("use_flow_sigmas")),
          Map.entry("'flow_prediction'", run -> run.is("prediction_type", "flow_prediction")),
          Map.entry("invert_sigmas = true", run -> run.known().flag("invert_sigmas")),
          Map.entry("shift_terminal = ", run -> run.known().has("shift_terminal")),
          Map.entry("timestep_type", run -> run.is("timestep_type", "continuous")),
          Map.entry("thresholding = true", run -> run.is("predict_x0", "false")),
          Map.entry("has no third order", run -> run.is("solver_order", "3")),
          Map.entry("exclude one another", run -> run.known().flag("use_lu_lambdas")),
          Map.entry("lambda_min_clipped and timestep_spacing trailing", Run::trails),
          Map.entry("is pure noise", run -> run.known().zeroSnr() && run.startsAtTheEnd()),
          Map.entry("the noise levels of the model", Run::asksForAllLevels),
          Map.entry("times over", Run::asksForAllLevels), // of the same levels
          Map.entry("steps and a positive shift", Run::asksForAllLevels),
          Map.entry("noise rises from", run -> run.known().zeroSnr()),
          Map.entry("beyond the last noise level", Run::startsBeyond));

  /** What diffusers refuses and this library draws. */
  private static final List<Predicate<Run>> DRAWN =
      List.of(
          run -> run.is("beta_schedule", "sigmoid"), // known to one class there
          run -> run.is("beta_schedule", "laplace"),
          run -> run.is("beta_schedule", "exp"),
          run -> run.is("algorithm_type", "deis"),
          run -> run.is("algorithm_type", "dpmsolver") && run.known().flag("thresholding"),
          run -> run.told.path("refused").asText().contains("linalg.solve")); // a step of no length

  /**
   * What the file has of one config.
   *
   * @param first step that is done; before it is data with noise where it is not 0
   * @param times the first and the last, and the mean weighted by 1, 2, 3, ...
   * @param after the state after the first step
   * @param end the last finite state
   */
  private record Run(
      ObjectNode config,
      int steps,
      int first,
      JsonNode told,
      double[] times,
      double[] after,
      double[] end) {

    SchedulerConfig known() {
      return SchedulerConfig.of(config);
    }

    boolean is(String key, String value) {
      return config.path(key).asText().equals(value);
    }

    boolean trails() {
      return is("timestep_spacing", "trailing");
    }

    boolean startsBeyond() {
      return steps + config.path("steps_offset").asInt() >= levels();
    }

    boolean asksForAllLevels() {
      return steps >= levels() || config.has("lambda_min_clipped");
    }

    int levels() {
      return config.path("num_train_timesteps").asInt(1000);
    }

    boolean startsAtTheEnd() {
      return (int) times[0] == levels() - 1;
    }

    @Override
    public String toString() {
      return steps + " steps from " + first + " of " + config;
    }
  }

  private static List<Run> runs() throws IOException {
    try (SafetensorsFile file =
            SafetensorsFile.open(Golden.FOLDER.resolve("sampler_sweep.safetensors"));
        Scope scope = Scope.open()) {
      JsonNode told = Json.MAPPER.readTree(file.metadata().get("cases"));
      double[] states = file.read("states").toDoubleArray(); // [N, 2, 8]
      double[] times = file.read("timesteps").toDoubleArray(); // [N, 3]
      List<Run> runs = new ArrayList<>();
      for (int i = 0; i < told.size(); i++) {
        JsonNode one = told.get(i);
        runs.add(
            new Run(
                (ObjectNode) one.get("config"),
                one.get("steps").asInt(),
                one.get("first").asInt(),
                one,
                Arrays.copyOfRange(times, 3 * i, 3 * i + 3),
                Arrays.copyOfRange(states, 16 * i, 16 * i + 8),
                Arrays.copyOfRange(states, 16 * i + 8, 16 * i + 16)));
      }
      return runs;
    }
  }

  private static Tensor values(IntToDoubleFunction value) {
    return Tensor.of(IntStream.range(0, 8).mapToDouble(value::applyAsDouble).toArray(), 2, 2, 2, 1);
  }

  /** The states before the first and after every step. */
  private static List<Tensor> states(Scheduler sampler, int first) {
    int[] draws = {0};
    Scheduler.NoiseSource noise =
        z -> {
          int draw = draws[0]++;
          return values(j -> 1.2 * Math.sin(1.7 * draw + 2.3 * j + 0.5));
        };
    Tensor start = values(j -> 1.1 * Math.sin(1.3 * j + 0.7));
    Tensor data = values(j -> 0.8 * Math.cos(0.9 * j));
    int begin = first * sampler.timestepsPerStep();
    Tensor z =
        first == 0 ? start.mul(sampler.initNoiseSigma()) : sampler.addNoise(data, start, begin);
    List<Tensor> states = new ArrayList<>(List.of(z));
    double[] timesteps = sampler.timesteps();
    for (int i = begin; i < timesteps.length; i++) {
      Tensor output = Golden.network(sampler.scaleModelInput(z, i), timesteps[i]);
      z = sampler.step(output, i, z, noise);
      states.add(z);
    }
    return states;
  }

  /** What is wrong; null where nothing is. Counts what became of the run. */
  private static @Nullable String check(Run run, Tally tally) {
    String outcome = "";
    String fault = null;
    try (Scheduler sampler = Schedulers.create(run.config, run.steps);
        Scope scope = Scope.open()) {
      List<Tensor> states = states(sampler, run.first);
      if (!states.get(states.size() - 1).isFinite()) {
        fault = "not finite";
      } else if (run.told.has("refused")) {
        outcome = "drawn though refused there";
        boolean known = DRAWN.stream().anyMatch(may -> may.test(run));
        fault = known ? null : "drawn, though " + run.told.get("refused").asText();
      } else {
        outcome = run.told.has("finite") ? "drawn though not finite there" : "equal";
        fault = difference(run, sampler.timesteps(), states, tally);
      }
    } catch (IllegalArgumentException e) {
      String said = e.getMessage();
      List<String> words =
          REFUSED.entrySet().stream()
              .filter(may -> said.contains(may.getKey()) && may.getValue().test(run))
              .map(Map.Entry::getKey)
              .toList();
      boolean both = run.told.has("refused") || run.told.has("finite");
      outcome = both ? "refused by both" : "refused here " + words;
      fault = both || !words.isEmpty() ? null : "refused: " + said;
    }
    String type = run.known().type();
    tally.counts.merge(type + " " + (fault == null ? outcome : "WRONG"), 1, Integer::sum);
    return fault == null ? null : run + ": " + fault;
  }

  /** What became of runs by class, and the largest difference of states. */
  private static final class Tally {
    final Map<String, Integer> counts = new TreeMap<>();
    double worst;
  }

  private static @Nullable String difference(
      Run run, double[] timesteps, List<Tensor> states, Tally tally) {
    double weighted = 0;
    for (int i = 0; i < timesteps.length; i++) {
      weighted += (i + 1) * timesteps[i];
    }
    double mean = weighted / (timesteps.length * (timesteps.length + 1.0) / 2);
    double[] times = {timesteps[0], timesteps[timesteps.length - 1], mean};
    int finite = run.told.path("finite").asInt(states.size() - 1); // of diffusers' states
    double worst = error(states.get(finite), run.end);
    if (finite > 0) {
      worst = Math.max(worst, error(states.get(1), run.after));
    }
    tally.worst = Math.max(tally.worst, worst);
    if (timesteps.length != run.told.get("evaluations").asInt()) {
      return "asks the network " + timesteps.length + " times, diffusers " + run.told;
    }
    for (int i = 0; i < 3; i++) {
      if (Math.abs(times[i] - run.times[i]) > TIME_TOLERANCE) {
        return "times " + Arrays.toString(times) + ", diffusers " + Arrays.toString(run.times);
      }
    }
    return worst <= TOLERANCE ? null : "states differ by " + worst;
  }

  private static double error(Tensor actual, double[] expected) {
    Tensor wanted = Tensor.of(expected, 2, 2, 2, 1);
    return actual.sub(wanted).abs().max().item() / wanted.abs().max().item();
  }

  private static Map<String, Integer> check(List<Run> runs) {
    Tally tally = new Tally();
    List<String> faults = new ArrayList<>();
    for (Run run : runs) {
      String fault = check(run, tally);
      if (fault != null) {
        faults.add(fault);
      }
    }
    System.out.printf("sweep: states differ by up to %.1e%n", tally.worst);
    tally.counts.forEach((what, count) -> System.out.println("sweep " + what + ": " + count));
    assertThat(faults).isEmpty();
    return tally.counts;
  }

  @Test
  void someConfigsAsDiffusers() throws IOException {
    List<Run> runs = new ArrayList<>(runs());
    runs.removeIf(run -> run.steps > 64);
    Collections.shuffle(runs, new Random(20));
    check(runs.subList(0, 200));
  }

  @Tag("slow")
  @Test
  void allConfigsAsDiffusers() throws IOException {
    Map<String, Integer> counts = check(runs());
    int equal =
        counts.entrySet().stream()
            .filter(count -> count.getKey().endsWith(" equal"))
            .mapToInt(Map.Entry::getValue)
            .sum();
    assertThat(equal).isGreaterThan(2_000);
  }

  @Test // the case of a folder that drew its starting noise: levels 14.6146 and 14.6146 again
  void oneStepOfSpreadLevelsEndsAtTheLeastNoiseOfTheTable() throws IOException {
    ObjectNode config =
        (ObjectNode)
            Json.MAPPER.readTree(
                """
                {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear",
                 "num_train_timesteps": 1000, "steps_offset": 1, "final_sigmas_type": "sigma_min",
                 "prediction_type": "epsilon"}
                """);
    for (String type : List.of("DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler")) {
      for (String spread : List.of("karras_sigmas", "exponential_sigmas", "beta_sigmas")) {
        ObjectNode one = config.deepCopy().put("_class_name", type).put("use_" + spread, true);
        NoiseSchedule schedule = NoiseSchedule.of(one);
        try (Scheduler sampler = Schedulers.create(one, 1);
            Scope scope = Scope.open()) {
          Tensor data = values(j -> 0.8 * Math.cos(0.9 * j));
          Tensor noise = values(j -> 1.1 * Math.sin(1.3 * j + 0.7));
          Tensor end = sampler.step(noise, 0, sampler.addNoise(data, noise, 0), Golden.NO_NOISE);
          Tensor expected = schedule.noised(0).apply(data, noise); // σ/α of .0292
          assertThat(end.sub(expected).abs().max().item()).as(type + spread).isLessThan(1e-5);
        }
      }
    }
  }
}
