package org.perflow.cli;

import java.nio.file.Path;
import java.util.List;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.perflow.cli.options.ComputeOption;
import org.perflow.cli.options.RecordOptions;
import org.perflow.evaluate.Case;
import org.perflow.evaluate.SolverErrors;
import org.perflow.evaluate.SolverErrors.Setting;
import org.perflow.flow.Guidance;
import org.perflow.flow.TeacherSolver;
import org.perflow.flow.TimeWindows;
import org.perflow.io.Installation;
import org.perflow.io.Sample;
import org.perflow.io.ShardReader;
import org.perflow.io.Shards;
import org.perflow.models.DiffusionModel;
import org.perflow.tensor.DType;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code perflow solvers}. */
@Command(
    name = "solvers",
    description =
        "Measures how far each solver of the teacher's ODE is from a fine solution (heun), to"
            + " choose --solver and --solving-steps of accelerate: on trajectories from noise to"
            + " held-out captions, in each window as a part of the way that the teacher goes there,"
            + " and at the end of all.",
    footer = {"", "Example:", "  perflow solvers --guidance 1.5 --evaluations 2,4,8 --pictures 4"})
final class SolversCommand extends Verb {
  @Option(
      names = "--teacher",
      paramLabel = "MODEL",
      description =
          "Diffusers folder, or its name on the hub (default: the one that comes with perflow).")
  @Nullable String teacher;

  @Option(
      names = "--data",
      split = ",",
      paramLabel = "PATH",
      description = "Shards with the captions, or folders with test.tar (default: data/emoji-64).")
  @Nullable List<Path> data;

  @Option(
      names = "--evaluations",
      split = ",",
      defaultValue = "2,3,4,5,8",
      paramLabel = "N",
      description =
          "Evaluations a window to try; heun, which takes two a step, tries the even ones"
              + " (default: ${DEFAULT-VALUE}).")
  List<Integer> evaluations;

  @Option(
      names = "--fine",
      defaultValue = "48",
      paramLabel = "N",
      description = "Evaluations a window of the fine solution, even (default: ${DEFAULT-VALUE}).")
  int fine;

  @Option(
      names = "--windows",
      defaultValue = "4",
      paramLabel = "K",
      description = "Windows of time (default: ${DEFAULT-VALUE}).")
  int windows;

  @Option(
      names = "--guidance",
      defaultValue = "" + Guidance.DEFAULT,
      paramLabel = "W",
      description = "Guidance of the teacher (default: ${DEFAULT-VALUE}).")
  double guidance;

  @Option(
      names = "--pictures",
      defaultValue = "8",
      paramLabel = "N",
      description = "Trajectories (default: ${DEFAULT-VALUE}).")
  int pictures;

  @Option(
      names = "--seed",
      defaultValue = "1000000",
      paramLabel = "N",
      description = "Seed of the first picture (default: ${DEFAULT-VALUE}).")
  long seed;

  @Mixin ComputeOption compute;

  @Override
  void run() throws Exception {
    List<Path> shards = Shards.test(data == null ? List.of(Installation.data()) : data);
    List<String> captions = ShardReader.readAll(shards).stream().map(Sample::caption).toList();
    List<Case> cases = Case.of(captions, pictures, seed);
    int all =
        windows
            * (fine
                + SolverErrors.settings(evaluations).stream()
                    .mapToInt(setting -> 2 * setting.evaluations())
                    .sum());
    err().printf("about %,d evaluations of the teacher for each of %d pictures%n", all, pictures);
    try (DiffusionModel model =
        DiffusionModel.load(fetch(teacher, Installation.teacher()), DType.F32, compute.device())) {
      List<SolverErrors> errors =
          SolverErrors.of(
              model,
              cases,
              guidance,
              compute.type(),
              new TimeWindows(windows),
              new Setting(TeacherSolver.HEUN, fine),
              SolverErrors.settings(evaluations));
      report(errors, table(errors));
    }
  }

  private String table(List<SolverErrors> errors) {
    String rows =
        errors.stream()
            .map(
                row ->
                    "%-10s %5d   %s %8.4f"
                        .formatted(
                            RecordOptions.word(row.solver().name()),
                            row.evaluations(),
                            row.windows().stream()
                                .map("%8.4f"::formatted)
                                .collect(Collectors.joining()),
                            row.whole()))
            .collect(Collectors.joining("\n"));
    return "%-10s %5s   %s %8s\n"
            .formatted("solver", "S", "%-" + 8 * windows + "s", "whole")
            .formatted("  windows, noisiest first")
        + rows;
  }
}
