package org.perflow.flow.sampler;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.DoubleBinaryOperator;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.perflow.flow.Golden;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.NoiseScheduleTest;
import org.perflow.flow.Parameterization;
import org.perflow.flow.PiecewiseFlow;
import org.perflow.flow.TimeWindows;
import org.perflow.io.SafetensorsFile;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

class PerflowSchedulerTest {
  private final NoiseSchedule exact = NoiseScheduleTest.exact();

  private PerflowScheduler sampler(String kind, int windows, int steps) {
    return new PerflowScheduler(
        new PiecewiseFlow(exact, new TimeWindows(windows), Parameterization.parse(kind)), steps);
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "4 | 4 | [1000, 750, 500, 250]",
        "4 | 5 | [1000, 875, 750, 500, 250]",
        "4 | 6 | [1000, 875, 750, 625, 500, 250]",
        "4 | 7 | [1000, 875, 750, 625, 500, 375, 250]",
        "4 | 8 | [1000, 875, 750, 625, 500, 375, 250, 125]",
        "4 | 9 | [1000, 916, 833, 750, 625, 500, 375, 250, 125]",
        "4 | 10 | [1000, 916, 833, 750, 666, 583, 500, 375, 250, 125]",
        "4 | 12 | [1000, 916, 833, 750, 666, 583, 500, 416, 333, 250, 166, 83]",
        "4 | 16 | [1000, 937, 875, 812, 750, 687, 625, 562, 500, 437, 375, 312, 250, 187, 125, 62]",
        "4 | 20 | [1000, 950, 900, 850, 800, 750, 700, 650, 600, 550, 500, 450, 400, 350, 300, 250,"
            + " 200, 150, 99, 49]",
        "3 | 3 | [1000, 666, 333]",
        "5 | 5 | [1000, 800, 600, 400, 200]",
        "8 | 8 | [1000, 875, 750, 625, 500, 375, 250, 125]"
      })
  void timesteps(int windows, int steps, String expected) {
    double[] timesteps = sampler("ddim_eps", windows, steps).timesteps();
    assertThat(Arrays.toString(Arrays.stream(timesteps).mapToLong(t -> (long) t).toArray()))
        .isEqualTo(expected);
  }

  @Test
  void truncationQuirks() {
    assertThat(sampler("ddim_eps", 10, 20).timesteps()).contains(700, 649, 600);
    assertThat(sampler("ddim_eps", 4, 40).timesteps()).contains(324).endsWith(99, 74, 49, 24);
  }

  /** States after every step of a scalar from z = 1 under a network of (timestep, z). */
  private static List<Double> run(Scheduler sampler, double start, DoubleBinaryOperator network) {
    List<Double> states = new ArrayList<>();
    try (Scope scope = Scope.open()) {
      Tensor z = Tensor.of(new double[] {start}, 1, 1);
      double[] timesteps = sampler.timesteps();
      for (int i = 0; i < timesteps.length; i++) {
        Tensor output =
            Tensor.of(new double[] {network.applyAsDouble(timesteps[i], z.item())}, 1, 1);
        z = sampler.step(output, i, z, Golden.NO_NOISE);
        states.add(z.item());
      }
    }
    return states;
  }

  @ParameterizedTest // where a constant output leads does not depend on N
  @CsvSource({
    "ddim_eps, 2.73387267, 5.66374201, 8.60669577, 10.26880430",
    "diff_eps, 2.48400619, 4.90796733, 7.29564235, 8.66566757",
    "velocity, 0.925, 0.85, 0.775, 0.70"
  })
  void constantOutput(String kind, double t75, double t50, double t25, double t0) {
    double[] expected = {t75, t50, t25, t0};
    for (int steps : new int[] {4, 5, 6, 8, 10}) {
      Scheduler sampler = sampler(kind, 4, steps);
      List<Double> states = run(sampler, 1, (t, z) -> 0.3);
      double[] timesteps = sampler.timesteps();
      int boundary = 0;
      for (int i = 0; i < timesteps.length; i++) {
        double next = i + 1 < timesteps.length ? timesteps[i + 1] : 0;
        if (next % 250 == 0) {
          assertThat(states.get(i)).as("N=%d", steps).isCloseTo(expected[boundary++], within(2e-8));
        }
      }
      assertThat(boundary).isEqualTo(4);
    }
  }

  @Test
  void constantOutputInsideWindows() {
    List<Double> states = run(sampler("ddim_eps", 4, 8), 1, (t, z) -> 0.3);
    assertThat(states.get(0)).isCloseTo(1.86693634, within(6e-9));
    assertThat(states.get(2)).isCloseTo(4.19880734, within(6e-9));
    assertThat(states.get(4)).isCloseTo(7.13521889, within(6e-9));
    assertThat(states.get(6)).isCloseTo(9.43775003, within(6e-9));
    assertThat(run(sampler("velocity", 4, 10), 1, (t, z) -> 0.3).get(0))
        .isCloseTo(0.9748, within(1e-12));
  }

  @ParameterizedTest // the teacher of N(0, 1) data as an untrained student
  @CsvSource({
    "ddim_eps, 0.98525406, 0.93685573, 0.85934243, 0.72022117",
    "diff_eps, 0.15430873, 0.04558321, 0.02472554, 0.02032061"
  })
  void untrainedStudent(String kind, double s1, double s2, double s3, double s4) {
    assertThat(run(sampler(kind, 4, 4), 1, (t, z) -> exact.sigma((int) t - 1) * z))
        .zipSatisfy(
            List.of(s1, s2, s3, s4), (got, want) -> assertThat(got).isCloseTo(want, within(6e-8)));
  }

  @Test
  void untrainedDdimStudentIsTheTeachersDdim() {
    ObjectNode student =
        PerflowScheduler.config(
            NoiseScheduleTest.perflowConfig(),
            new TimeWindows(4),
            Parameterization.DDIM_EPS,
            false);
    Scheduler perflow = Schedulers.create(student, 4);
    Scheduler ddim = Schedulers.create("ddim", student, 4);
    assertThat(ddim.timesteps()).containsExactly(999, 749, 499, 249);
    List<Double> ours = run(perflow, 0.7, (t, z) -> Math.sin(3 * z) + (t - 1) / 700);
    List<Double> theirs = run(ddim, 0.7, (t, z) -> Math.sin(3 * z) + t / 700);
    for (int i = 0; i < 4; i++) {
      assertThat(ours.get(i)).isCloseTo(theirs.get(i), within(1e-5));
    }
  }

  @Test
  void fewerStepsThanWindows() {
    assertThatThrownBy(() -> sampler("ddim_eps", 4, 3))
        .hasMessageContaining("got 3 steps")
        .hasMessageContaining("4 time windows")
        .hasMessageContaining("use 4, 5, 6 or any number above");
    assertThatThrownBy(() -> sampler("ddim_eps", 4, 1001)).hasMessageContaining("use fewer");
  }

  @Test
  void officialSampler() throws IOException {
    NoiseSchedule single = NoiseSchedule.stableDiffusion();
    int cases = 0;
    try (SafetensorsFile file =
        SafetensorsFile.open(Golden.FOLDER.resolve("perflow_scheduler.safetensors"))) {
      for (String key : file.entries().keySet()) {
        if (!key.endsWith(".states")) {
          continue;
        }
        String[] parts = key.split("\\."); // PREDICTION.K4.N8.states
        TimeWindows windows = new TimeWindows(Integer.parseInt(parts[1].substring(1)));
        PerflowScheduler sampler =
            new PerflowScheduler(
                new PiecewiseFlow(single, windows, Parameterization.parse(parts[0])),
                Integer.parseInt(parts[2].substring(1)));
        try (Scope scope = Scope.open()) {
          Tensor timesteps = file.read(key.replace(".states", ".timesteps"));
          assertThat(sampler.timesteps()).as(key).containsExactly(timesteps.toDoubleArray());
          assertThat(
                  Golden.error(
                      key,
                      GoldenSchedulersTest.states(sampler, file.read(key), Golden.NO_NOISE),
                      file.read(key)))
              .isLessThan(1e-4);
        }
        cases++;
      }
    }
    assertThat(cases).isEqualTo(36);
  }
}
