package org.perflow.train;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.perflow.io.AtomicFiles;
import org.perflow.io.FormatException;
import org.perflow.io.Json;
import org.perflow.io.SafetensorsFile;
import org.perflow.io.SafetensorsWriter;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.optim.AdamW;
import org.perflow.tensor.optim.Ema;
import org.perflow.tensor.optim.FlatParameters;
import org.perflow.tensor.optim.LossScale;

/**
 * Folders {@code RUN/checkpoints/step-00001000} that hold all a run needs to go on as if it had
 * never stopped: {@code state.safetensors} (weights, moments, averages, the objective's own state,
 * generator), {@code state.json} (counters) and {@code config.json}. A folder of that name is
 * always complete: it is prepared under a name with a dot in front, forced to disk and renamed.
 */
final class Checkpoint {
  private static final String PREPARED = ".preparing";

  /** What tensors of pools were called in checkpoints of earlier versions. */
  private static final Map<String, String> FORMERLY =
      Map.of(
          "objective.chords.text", "objective.chords.condition",
          "objective.pairs.text", "objective.pairs.condition.0",
          "objective.pairs.pooled", "objective.pairs.condition.1",
          "objective.pairs.sizes", "objective.pairs.condition.2");

  private Checkpoint() {}

  /**
   * The counters of a run.
   *
   * @param loss of the last step; null in checkpoints of earlier versions
   */
  record State(
      long step,
      long optimiserSteps,
      long emaUpdates,
      long dataPosition,
      double elapsedSeconds,
      @Nullable Double loss) {}

  /** What a checkpoint is taken of and restored into. */
  record Parts(
      FlatParameters weights,
      AdamW optimiser,
      @Nullable Ema ema,
      @Nullable LossScale scale,
      Map<String, Tensor> objective,
      Rng rng) {
    Map<String, Tensor> tensors() {
      Map<String, Tensor> all = new LinkedHashMap<>();
      put(all, "weights.", weights.values());
      optimiser.state().forEach((name, moment) -> putMoment(all, "adam." + name, moment));
      if (ema != null) {
        put(all, "ema.", ema.values());
      }
      if (scale != null) {
        all.put("loss_scale", scale.state());
      }
      objective.forEach((name, tensor) -> all.put("objective." + name, tensor));
      return all;
    }

    /** By weight where it has a number of each; of 8 bits as it is. */
    private void putMoment(Map<String, Tensor> all, String name, Tensor moment) {
      if (moment.dim() == 1) {
        put(all, name + ".", moment);
      } else {
        all.put(name, moment);
      }
    }

    private void put(Map<String, Tensor> all, String prefix, Tensor flat) {
      weights.views(flat).forEach((name, view) -> all.put(prefix + name, view));
    }
  }

  /** Writes one, then removes all but the newest {@code keep}. */
  static Path save(Path run, Parts parts, State state, JsonNode config, int keep)
      throws IOException {
    Path target = folder(run).resolve("step-%08d".formatted(state.step()));
    Path prepared = folder(run).resolve(PREPARED);
    AtomicFiles.deleteDirectory(prepared); // left by a process that was killed
    Files.createDirectories(prepared);
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Map<String, Tensor> tensors = parts.tensors();
      tensors.put("rng", Tensor.of(parts.rng().state()));
      SafetensorsWriter.write(prepared.resolve("state.safetensors"), tensors, Map.of());
    }
    Json.write(prepared.resolve("state.json"), state);
    Json.write(prepared.resolve("config.json"), config);
    AtomicFiles.replaceDirectory(prepared, target);
    List<Path> all = all(run);
    for (Path old : all.subList(0, Math.max(0, all.size() - keep))) {
      AtomicFiles.deleteDirectory(old);
    }
    return target;
  }

  /** The newest one. */
  static Optional<Path> latest(Path run) throws IOException {
    List<Path> all = all(run);
    return all.isEmpty() ? Optional.empty() : Optional.of(all.get(all.size() - 1));
  }

  /**
   * Fills {@code parts} from a checkpoint.
   *
   * @throws FormatException where it was taken of another model
   */
  static State restore(Path checkpoint, Parts parts) throws IOException {
    State state = Json.read(checkpoint.resolve("state.json"), State.class);
    Path file = checkpoint.resolve("state.safetensors");
    try (SafetensorsFile source = SafetensorsFile.open(file);
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Map<String, Tensor> tensors = parts.tensors();
      for (var entry : tensors.entrySet()) { // all of it fits, or nothing is changed
        SafetensorsFile.Entry stored = source.entries().get(stored(source, entry.getKey()));
        if (stored == null || !Arrays.equals(stored.shape(), entry.getValue().shape())) {
          throw new FormatException(
              "%s does not fit this run: %s is %s there and %s here; resume with the model and the"
                      .formatted(
                          file,
                          entry.getKey(),
                          stored == null ? "missing" : Arrays.toString(stored.shape()),
                          Arrays.toString(entry.getValue().shape()))
                  + " settings it was started with ("
                  + checkpoint.resolve("config.json")
                  + ")");
        }
      }
      for (var entry : tensors.entrySet()) {
        try (Scope each = Scope.open()) {
          entry.getValue().copyInPlace(source.read(stored(source, entry.getKey())));
        }
      }
      parts.rng().restore(source.read("rng").toByteArray());
    }
    parts.optimiser().steps(state.optimiserSteps());
    if (parts.ema() != null) {
      parts.ema().updates(state.emaUpdates());
    }
    return state;
  }

  /** The name under which {@code source} has it. */
  private static String stored(SafetensorsFile source, String name) {
    String former = FORMERLY.getOrDefault(name, name);
    return source.entries().containsKey(former) ? former : name;
  }

  private static List<Path> all(Path run) throws IOException {
    if (!Files.isDirectory(folder(run))) {
      return List.of();
    }
    try (Stream<Path> entries = Files.list(folder(run))) {
      return entries
          .filter(entry -> entry.getFileName().toString().matches("step-\\d{8,}"))
          .sorted(Comparator.comparingLong(Checkpoint::number))
          .toList();
    }
  }

  private static long number(Path checkpoint) {
    return Long.parseLong(checkpoint.getFileName().toString().substring("step-".length()));
  }

  private static Path folder(Path run) {
    return run.resolve("checkpoints");
  }
}
