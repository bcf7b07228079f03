package org.perflow.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.perflow.distill.ring.RingRecipe;
import org.perflow.distill.ring.Trajectories;
import org.perflow.distill.ring.Trajectories.Summary;
import org.perflow.distill.ring.TrajectoryFigure;
import org.perflow.io.AtomicFiles;
import org.perflow.io.Images;
import org.perflow.io.Json;
import org.perflow.tensor.Device;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code perflow trajectories}. */
@Command(
    name = "trajectories",
    description =
        "Shows what each method does, in the plane: trains it for some seconds on eight Gaussians"
            + " on a ring, whose teacher is known in closed form, and draws the paths from noise to"
            + " sample. Energy distances to the ring are those before and after training. OUT gets"
            + " trajectories.png, .svg and .json.",
    footer = {
      "",
      "Examples:",
      "  perflow trajectories --out runs/trajectories",
      "  perflow trajectories --methods perflow,pcm --steps-of-training 5000 --out longer"
    })
final class TrajectoriesCommand extends Verb {
  @Option(
      names = "--methods",
      split = ",",
      paramLabel = "NAME",
      description = "Methods to train (default: all).")
  @Nullable List<String> methods;

  @Option(
      names = "--steps-of-training",
      paramLabel = "N",
      description = "Training steps of every method (default: its own, 300 to 2000).")
  @Nullable Integer trainingSteps;

  @Option(
      names = "--seed",
      defaultValue = "0",
      paramLabel = "N",
      description = "Seed of the training (default: ${DEFAULT-VALUE}).")
  long seed;

  @Option(names = "--out", required = true, paramLabel = "DIR", description = "Folder to write to.")
  Path out;

  @Override
  void run() throws Exception {
    if (trainingSteps != null && trainingSteps < 1) {
      throw new IllegalArgumentException(
          "--steps-of-training must be 1 or more; got " + trainingSteps);
    }
    Device.threads(1); // tensors are small
    List<Trajectories> all = Trajectories.of(recipes(), err()::println);
    write(all.get(0), all);
  }

  private List<RingRecipe<?>> recipes() {
    List<RingRecipe<?>> chosen = new ArrayList<>();
    if (methods == null) {
      chosen.addAll(RingRecipe.ALL);
    } else {
      methods.stream().distinct().map(RingRecipe::of).forEach(chosen::add);
    }
    chosen.replaceAll(this::configured);
    return chosen;
  }

  private <O extends Record> RingRecipe<O> configured(RingRecipe<O> recipe) {
    RingRecipe<O> seeded = recipe.training(recipe.training().withSeed(seed));
    return trainingSteps == null ? seeded : seeded.trainedFor(trainingSteps);
  }

  private void write(Trajectories teacher, List<Trajectories> all) throws IOException {
    TrajectoryFigure figure = new TrajectoryFigure(teacher, all);
    List<Summary> summaries = all.stream().map(Trajectories::summary).toList();
    Map<String, Object> figures = Map.of("seed", seed, "trajectories", summaries);
    Images.writePng(out.resolve("trajectories.png"), figure.png(1), Map.of("seed", "" + seed));
    AtomicFiles.write(out.resolve("trajectories.svg"), figure::svg);
    Json.write(out.resolve("trajectories.json"), figures);
    report(figures, table(summaries) + "%n%s".formatted(out.resolve("trajectories.png")));
  }

  private static String table(List<Summary> summaries) {
    return "%-17s %5s %8s %8s %8s %10s %8s\n"
            .formatted("", "steps", "DDIM", "start", "trained", "to teacher", "seconds")
        + summaries.stream()
            .map(
                row ->
                    "%-17s %5d %8.3f %8s %8.3f %10.3f %8.1f"
                        .formatted(
                            row.name(),
                            row.steps(),
                            row.ddim().energy(),
                            row.start() == null ? "" : "%.3f".formatted(row.start().energy()),
                            row.end().energy(),
                            row.end().paired(),
                            row.trainingSeconds()))
            .collect(Collectors.joining("\n"));
  }
}
