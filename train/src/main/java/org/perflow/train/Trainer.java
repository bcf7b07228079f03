package org.perflow.train;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.perflow.io.Images;
import org.perflow.io.Json;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Recompute;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;
import org.perflow.tensor.optim.AdamW;
import org.perflow.tensor.optim.Ema;
import org.perflow.tensor.optim.FlatParameters;

/**
 * The training loop of every {@link Objective}. Writes into one folder: {@code config.json}, {@code
 * checkpoints/}, {@code samples/}; listeners add the rest. Not thread-safe. While it is open, the
 * trained weights are views of its buffers; {@link #close} gives them memory of their own again.
 *
 * <pre>{@code
 * try (Trainer trainer = new Trainer(objective, options, folder)) {
 *   trainer.listen(new ProgressListener("perflow"));
 *   trainer.resume(); // where a run was cut off
 *   trainer.run();
 *   trainer.withAverages(() -> save(student));
 * }
 * }</pre>
 */
public final class Trainer implements AutoCloseable {
  /**
   * How a run ended.
   *
   * @param steps in all
   * @param loss of the last one
   * @param seconds of wall time over all sittings
   * @param preparation {@link Objective#preparationSeconds}, which are not among them
   */
  public record Result(long steps, double loss, double seconds, double preparation) {}

  /** Draws a picture of how far the model has come; gets its averaged weights, without grad. */
  @FunctionalInterface
  public interface Sampler {
    BufferedImage draw();
  }

  private final Objective objective;
  private final TrainOptions options;
  private final Path folder;
  private final FlatParameters weights;
  private final AdamW optimiser;
  private final @Nullable Ema ema;
  private final Rng rng;
  private final DataOrder order;
  private final List<TrainListener> listeners = new ArrayList<>();
  private final ObjectNode config = Json.MAPPER.createObjectNode();
  private @Nullable Sampler sampler;
  private volatile boolean stopping;
  private long step;
  private double loss = Double.NaN;
  private double secondsBefore;
  private long startedNanos = System.nanoTime();

  /** Takes over the objective's weights, which must have values. Nothing is written yet. */
  public Trainer(Objective objective, TrainOptions options, Path folder) {
    this.objective = objective;
    this.options = options;
    this.folder = folder;
    weights = new FlatParameters(objective.parameters());
    optimiser = new AdamW(weights, options.adam());
    ema = options.ema() > 0 ? new Ema(weights, options.ema()) : null;
    rng = Rng.seeded(options.seed());
    order = new DataOrder(objective.examples(), options.seed());
    config.set("train", Json.MAPPER.valueToTree(options));
  }

  /** Adds a listener. */
  public Trainer listen(TrainListener listener) {
    listeners.add(listener);
    return this;
  }

  /** Sets what draws the sample grids. */
  public Trainer sampler(Sampler sampler) {
    this.sampler = sampler;
    return this;
  }

  /** Adds settings of the objective to the config that is saved beside every artefact. */
  public Trainer config(String name, Object settings) {
    config.set(name, Json.MAPPER.valueToTree(settings));
    return this;
  }

  /** The effective config. */
  public ObjectNode config() {
    return config.deepCopy();
  }

  /** Goes on from the newest checkpoint of the folder; false where there is none. */
  public boolean resume() throws IOException {
    Optional<Path> latest = Checkpoint.latest(folder);
    if (latest.isEmpty()) {
      return false;
    }
    Checkpoint.State state = Checkpoint.restore(latest.get(), parts());
    step = state.step();
    order.position(state.dataPosition());
    secondsBefore = state.elapsedSeconds();
    return true;
  }

  /**
   * Trains until a limit of the options is reached, then writes a last checkpoint.
   *
   * @throws DivergedException where loss or gradients are NaN or infinite; nothing is written then
   * @throws StoppedException after {@link #stop}, once the checkpoint is written
   */
  public Result run() throws IOException {
    refuseToOverwrite();
    startedNanos = System.nanoTime();
    Json.write(folder.resolve("config.json"), config);
    if (step == 0) {
      String note = objective.check();
      for (TrainListener listener : note.isEmpty() ? List.<TrainListener>of() : listeners) {
        listener.onNote(note);
      }
      sample();
    }
    double progressBefore = progress();
    long stepBefore = step;
    while (progress() < 1) {
      double learningRate = options.learningRate(step, progress());
      double norm = update(learningRate);
      if (step % options.logEvery() == 0 || progress() >= 1) {
        report(learningRate, norm, step - stepBefore, progressBefore);
      }
      if (options.sampleEvery() > 0 && step % options.sampleEvery() == 0) {
        sample();
      }
      boolean due = options.checkpointEvery() > 0 && step % options.checkpointEvery() == 0;
      if (due || (stopping && progress() < 1)) {
        checkpoint();
      }
      if (stopping && progress() < 1) {
        throw new StoppedException(
            "stopped after step " + step + "; resume goes on from its checkpoint in " + folder);
      }
    }
    if (options.checkpointEvery() == 0 || step % options.checkpointEvery() != 0) {
      checkpoint();
    }
    for (TrainListener listener : listeners) {
      listener.onEnd();
    }
    return new Result(step, loss, seconds(), objective.preparationSeconds());
  }

  /** Asks {@link #run} to write a checkpoint after the step it is at and end; from any thread. */
  public void stop() {
    stopping = true;
  }

  private void refuseToOverwrite() throws IOException {
    Optional<Path> latest = Checkpoint.latest(folder);
    if (step == 0 && latest.isPresent()) {
      throw new IOException(
          folder
              + " already holds a run ("
              + latest.get().getFileName()
              + "): resume it or choose another folder");
    }
  }

  /** One optimiser step; returns the gradient norm before clipping. */
  private double update(double learningRate) throws IOException {
    weights.zeroGradients();
    double sum = 0;
    for (int i = 0; i < options.accumulate(); i++) {
      var batch = new Objective.Step(step, progress(), order.next(options.batch()), rng);
      sum += finite("loss", backward(batch), learningRate);
    }
    loss = sum / options.accumulate();
    double limit = options.clip() > 0 ? options.clip() : Double.MAX_VALUE;
    double norm = finite("gradient norm", weights.clipGradients(limit), learningRate);
    optimiser.step(learningRate);
    if (ema != null) {
      ema.update();
    }
    step++;
    return norm;
  }

  private double backward(Objective.Step batch) {
    try (Scope scope = Scope.open()) {
      if (!options.gradientCheckpointing()) {
        Tensor mean = objective.loss(batch);
        mean.div(options.accumulate()).backward();
        return mean.item();
      }
      try (Recompute tape = Recompute.record()) {
        Tensor mean = objective.loss(batch);
        tape.backward(mean.div(options.accumulate()));
        return mean.item();
      }
    }
  }

  private double finite(String what, double value, double learningRate) throws IOException {
    if (Double.isFinite(value)) {
      return value;
    }
    Optional<Path> last = Checkpoint.latest(folder);
    throw new DivergedException(
        "%s is %s at step %d (learning rate %.3g): training stopped, and nothing was overwritten. %s"
            .formatted(
                what,
                value,
                step + 1,
                learningRate,
                last.map(path -> "The last good checkpoint is " + path + ": resume it with a lower")
                        .orElse("There is no checkpoint yet: start again with a lower")
                    + " learning rate, a longer warm-up or compute F32."));
  }

  private void report(double learningRate, double norm, long stepsNow, double progressBefore)
      throws IOException {
    double now = seconds() - secondsBefore;
    double progress = progress();
    double gained = Math.max(1e-9, progress - progressBefore);
    var report =
        new TrainListener.Report(
            step,
            Math.min(1, progress),
            loss,
            norm,
            learningRate,
            step * options.batch() * options.accumulate(),
            seconds(),
            stepsNow * options.batch() * options.accumulate() / now,
            Math.max(0, now * (1 - progress) / gained));
    for (TrainListener listener : listeners) {
      listener.onStep(report);
    }
  }

  private void sample() throws IOException {
    if (sampler == null || options.sampleEvery() == 0) {
      return;
    }
    BufferedImage[] grid = new BufferedImage[1];
    Sampler drawer = sampler;
    withAverages(
        () -> {
          try (Scope scope = Scope.open();
              NoGrad guard = NoGrad.enter()) {
            grid[0] = drawer.draw();
          }
        });
    Path file = folder.resolve("samples/step-%08d.png".formatted(step));
    Files.createDirectories(folder.resolve("samples"));
    Images.writePng(file, grid[0], Map.of("step", Long.toString(step)));
    for (TrainListener listener : listeners) {
      listener.onSample(step, grid[0]);
    }
  }

  private void checkpoint() throws IOException {
    var state =
        new Checkpoint.State(
            step, optimiser.steps(), ema == null ? 0 : ema.updates(), order.position(), seconds());
    Path saved = Checkpoint.save(folder, parts(), state, config, options.keepCheckpoints());
    for (TrainListener listener : listeners) {
      listener.onCheckpoint(step, saved);
    }
  }

  /**
   * Runs {@code action} with the averaged weights in the model (the raw ones without averaging).
   */
  public void withAverages(Runnable action) {
    if (ema == null) {
      action.run();
    } else {
      ema.applied(action);
    }
  }

  /** Part of the run that is done, by the nearer of both limits; 1 or more at the end. */
  private double progress() {
    double bySteps = options.steps() > 0 ? (double) step / options.steps() : 0;
    double byTime = options.minutes() > 0 ? seconds() / (60 * options.minutes()) : 0;
    return Math.max(bySteps, byTime);
  }

  private double seconds() {
    return secondsBefore + (System.nanoTime() - startedNanos) / 1e9;
  }

  private Checkpoint.Parts parts() {
    return new Checkpoint.Parts(weights, optimiser, ema, objective.state(), rng);
  }

  /** Frees the buffers; the model keeps the weights as they are, without gradients. */
  @Override
  public void close() {
    for (Parameter parameter : objective.parameters().values()) {
      Tensor own;
      try (Scope scope = Scope.open();
          NoGrad guard = NoGrad.enter()) {
        own = scope.release(parameter.value().detach().copy());
      }
      parameter.value(own);
    }
    if (ema != null) {
      ema.close();
    }
    optimiser.close();
    weights.close();
    rng.close();
  }
}
