package org.perflow.compare;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.perflow.distill.StudentRun;
import org.perflow.io.FolderLock;
import org.perflow.io.Json;
import org.perflow.report.Report;
import org.perflow.tensor.Scope;
import org.perflow.train.Catalogue;
import org.perflow.train.RunConfig;
import org.perflow.train.TrainListener;
import org.perflow.train.Trainer;

/**
 * What training an entry took; beside its student as {@code training.json}.
 *
 * @param images that it was shown
 * @param preparation seconds before the clock of training started
 * @param seconds of training
 * @param loss last
 * @param peakGigabytes largest memory of the process
 */
public record Training(
    String method,
    long steps,
    long images,
    double preparation,
    double seconds,
    double loss,
    double peakGigabytes) {

  /** Trains what is not trained; refuses a folder that was trained with other settings. */
  static Training of(StudentRun<?> run, Consumer<String> progress, TrainListener... listeners)
      throws IOException {
    Path done = run.out().resolve("training.json");
    refuseOtherSettings(run.out(), run.config());
    if (Files.exists(done)) {
      progress.accept("  trained already: " + run.student());
      return Json.read(done, Training.class);
    }
    long[] peak = new long[1];
    TrainListener memory =
        new TrainListener() {
          @Override
          public void onStep(Report report) {
            peak[0] = Math.max(peak[0], Scope.physicalBytes());
          }
        };
    boolean resume = Files.isDirectory(run.out().resolve("checkpoints"));
    TrainListener[] all =
        Stream.concat(Stream.of(memory), Stream.of(listeners)).toArray(TrainListener[]::new);
    Trainer.Result result;
    try (FolderLock lock = FolderLock.take(run.out())) { // before data are read
      result = run.train(Catalogue.of(run.shards()), resume, all);
    }
    Training training =
        new Training(
            run.method().name(),
            result.steps(),
            result.steps() * run.train().batch() * run.train().accumulate(),
            result.preparation(),
            result.seconds(),
            result.loss(),
            peak[0] / 1e9);
    Json.write(done, training);
    return training;
  }

  /** Refuses a folder that holds a run with other settings than it is to have now. */
  static void refuseOtherSettings(Path folder, RunConfig wanted) throws IOException {
    if (!Files.exists(folder.resolve("config.json"))) {
      return;
    }
    List<String> differences =
        wanted.differences(RunConfig.in(folder)).stream()
            .filter(
                difference -> !difference.startsWith("train.device ")) // the student is the same
            .toList();
    if (!differences.isEmpty()) {
      throw new IllegalArgumentException(
          "%s/config.json was written with other settings than the plan has now: %s; choose another"
                  .formatted(folder, String.join(", ", differences))
              + " folder to write to, or move that one away");
    }
  }

  /** A line an entry, by their names. */
  static Report.Table table(Map<String, Training> trained) {
    List<Report.Row> rows = new ArrayList<>();
    trained.forEach((name, training) -> rows.add(training.row(name)));
    return new Report.Table(
        "Training",
        List.of(
            "Entry",
            "Method",
            "Images",
            "Steps",
            "Preparing, s",
            "Training, s",
            "Last loss",
            "Peak memory, GB"),
        rows,
        "Preparing: drawing the teacher's pictures that reflow, instaflow and shortcut learn from,"
            + " before the clock of training starts; as long for each of them, though those that"
            + " share a folder draw only once. What other methods have the teacher draw is part of"
            + " their training. Losses of methods cannot be compared.");
  }

  private Report.Row row(String name) {
    return new Report.Row(
        Report.Row.Kind.FIGURES,
        name,
        List.of(
            method,
            "%,d".formatted(images),
            "%,d".formatted(steps),
            "%,.0f".formatted(preparation),
            "%,.0f".formatted(seconds),
            "%.4f".formatted(loss),
            "%.2f".formatted(peakGigabytes)));
  }
}
