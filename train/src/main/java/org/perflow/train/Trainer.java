package org.perflow.train;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.LongSupplier;
import org.jspecify.annotations.Nullable;
import org.perflow.io.Images;
import org.perflow.tensor.Compute;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tape;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;
import org.perflow.tensor.optim.AdamW;
import org.perflow.tensor.optim.Ema;
import org.perflow.tensor.optim.FlatParameters;
import org.perflow.tensor.optim.LossScale;

/**
 * The training loop of every {@link Objective}. Writes into one folder: {@code config.json}, {@code
 * checkpoints/}, {@code samples/}; listeners add the rest. Not thread-safe. While it is open, the
 * trained weights are views of its buffers; {@link #close} gives them memory of their own again.
 *
 * <pre>{@code
 * try (Trainer trainer = new Trainer(objective, options, folder)) {
 *   trainer.listen(new ProgressListener());
 *   trainer.resume(); // where a run was cut off
 *   trainer.run();
 *   trainer.withAverages(() -> save(objective));
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
  private final RunConfig config;
  private final Path folder;
  private final LongSupplier nanos;
  private final FlatParameters weights;
  private final AdamW optimiser;
  private final @Nullable Ema ema;
  private final @Nullable LossScale scale; // in float16
  private final Rng rng;
  private final DataOrder order;
  private final List<TrainListener> listeners = new ArrayList<>();
  private String name = "training";
  private @Nullable Sampler sampler;
  private List<String> changed = List.of(); // settings, since the checkpoint that is resumed
  private long step;
  private final Readings last = new Readings(); // losses of the last micro-batches, gradient norm
  private double loss = Double.NaN; // as of the last reading
  private double norm = Double.NaN;
  private double secondsBefore;
  private long startedNanos;

  /** Takes over the objective's weights, which must have values. Nothing is written yet. */
  public Trainer(Objective objective, TrainOptions options, Path folder) {
    this(objective, RunConfig.of(options), folder);
  }

  /** The same with settings of the objective, which are saved beside every artefact. */
  public Trainer(Objective objective, RunConfig config, Path folder) {
    this(objective, config, folder, System::nanoTime);
  }

  /** With a clock of one's own, for tests. */
  Trainer(Objective objective, RunConfig config, Path folder, LongSupplier nanos) {
    this.objective = objective;
    this.config = config;
    this.options = config.train();
    this.folder = folder;
    this.nanos = nanos;
    startedNanos = nanos.getAsLong();
    weights = new FlatParameters(objective.parameters());
    optimiser = new AdamW(weights, options.adam(), options.moments());
    ema = options.ema() > 0 ? new Ema(weights, options.ema()) : null;
    scale = options.compute() == Compute.F16 ? new LossScale() : null;
    rng = Rng.seeded(options.seed());
    order = new DataOrder(objective.groups(), options.batch(), options.seed());
  }

  /** Says to the listeners what is trained. */
  public Trainer name(String name) {
    this.name = name;
    return this;
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

  /** The effective config. */
  public RunConfig config() {
    return config;
  }

  /**
   * Goes on from the newest checkpoint of the folder; false where there is none. Settings of the
   * trainer may be others than those that it was trained with, and so may be the names of its
   * inputs; {@link #run} then tells the listeners which.
   *
   * @throws IllegalArgumentException where other settings differ, naming them
   */
  public boolean resume() throws IOException {
    Optional<Path> latest = Checkpoint.latest(folder);
    if (latest.isEmpty()) {
      return false;
    }
    changed = config.differences(RunConfig.in(latest.get()));
    List<String> other =
        changed.stream().filter(key -> !key.matches("(train|inputs)\\..*")).toList();
    if (!other.isEmpty()) {
      throw new IllegalArgumentException(
          latest.get()
              + " was trained with other settings: "
              + String.join(", ", other)
              + "; take these again, or start anew in another folder");
    }
    Checkpoint.State state = Checkpoint.restore(latest.get(), parts());
    step = state.step();
    order.position(state.dataPosition());
    secondsBefore = state.elapsedSeconds();
    loss = state.loss() == null ? Double.NaN : state.loss();
    return true;
  }

  /** What the clock says once a step, so that what is decided by it cannot disagree. */
  private record Clock(double seconds, double progress) {
    boolean isOver() {
      return progress >= 1;
    }
  }

  /**
   * Trains until a limit of the options is reached, then writes a last checkpoint.
   *
   * @throws DivergedException where loss or gradients are NaN or infinite; nothing is written then.
   *     On the CPU at the step where they are, elsewhere at the next record of the log or
   *     checkpoint
   * @throws StoppedException where a listener wanted to stop, once the checkpoint is written
   */
  public Result run() throws IOException {
    refuseToOverwrite();
    startedNanos = nanos.getAsLong();
    config.write(folder);
    for (TrainListener listener : listeners) {
      listener.onStart(name);
    }
    if (!changed.isEmpty()) {
      note("resumed with other settings: " + String.join(", ", changed));
    }
    if (step == 0) {
      note(groups());
      note("computes in " + options.compute().torchName() + where());
      note(objective.check());
      sample();
    }
    long stepBefore = step;
    Clock before = clock();
    Clock clock = before;
    while (!clock.isOver()) {
      double learningRate = options.learningRate(step, clock.progress());
      update(learningRate, clock.progress());
      clock = clock();
      if (step % options.logEvery() == 0 || clock.isOver()) {
        read(learningRate);
        report(learningRate, step - stepBefore, before, clock);
        if (clock.isOver() || step - stepBefore <= options.logEvery()) { // the first, and the last
          note(memory());
        }
      }
      if (options.sampleEvery() > 0 && step % options.sampleEvery() == 0) {
        sample();
      }
      boolean stopping = !clock.isOver() && isStopWanted();
      boolean due = options.checkpointEvery() > 0 && step % options.checkpointEvery() == 0;
      if (due || stopping || clock.isOver()) {
        read(learningRate);
        checkpoint();
      }
      if (stopping) {
        throw new StoppedException(
            "stopped after step " + step + "; resume goes on from its checkpoint in " + folder);
      }
    }
    for (TrainListener listener : listeners) {
      listener.onEnd();
    }
    return new Result(step, loss, seconds(), objective.preparationSeconds());
  }

  private String where() {
    Device device = weights.values().device();
    return device.isCpu() ? "" : " on " + device;
  }

  private String memory() {
    Device device = weights.values().device();
    return device.kind() == Device.Kind.CUDA ? device + ": " + device.memory() : "";
  }

  private boolean isStopWanted() {
    return listeners.stream().anyMatch(TrainListener::wantsStop);
  }

  private String groups() {
    return order.groups() == 1
        ? ""
        : "pictures of %d sizes, one a batch; %d of them have fewer than the %d of a batch, in which they stand more than once"
            .formatted(order.groups(), order.filled(), options.batch());
  }

  private void note(String text) throws IOException {
    for (TrainListener listener : text.isEmpty() ? List.<TrainListener>of() : listeners) {
      listener.onNote(text);
    }
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

  /**
   * One optimiser step. On the CPU its loss and gradient norm are read before the weights change;
   * elsewhere that would keep the device waiting, so {@link #read} finds out at the log interval.
   */
  private void update(double learningRate, double progress) throws IOException {
    weights.zeroGradients();
    try (Scope scope = Scope.open()) {
      List<Tensor> losses = new ArrayList<>();
      for (int i = 0; i < options.accumulate(); i++) {
        losses.add(backward(new Objective.Step(step, progress, order.next(), rng)));
      }
      if (scale != null && !scale.unscale(weights)) {
        skip(learningRate);
        return;
      }
      losses.add(weights.clipGradients(options.clip() > 0 ? options.clip() : Double.MAX_VALUE));
      last.set(losses);
    }
    if (weights.values().device().isCpu()) {
      read(learningRate);
    }
    optimiser.step(learningRate);
    if (ema != null) {
      ema.update();
    }
    step++;
  }

  /**
   * A step whose gradients overflowed in float16 changes nothing, and the next has a lower scale.
   */
  private void skip(double learningRate) throws IOException {
    step++;
    if (scale != null && scale.isExhausted()) {
      finite("loss, or a gradient, in float16", Double.POSITIVE_INFINITY, learningRate);
    }
  }

  private Tensor backward(Objective.Step batch) {
    Tape.Way way = options.gradientCheckpointing() ? Tape.Way.RECOMPUTED : weights.way();
    try (Scope scope = Scope.open();
        Tape tape = Tape.record(way)) {
      Tensor mean = objective.loss(batch);
      Tensor part = mean.div(options.accumulate());
      tape.backward(scale == null ? part : part.mul(scale.factor()));
      return scope.keep(mean.detach());
    }
  }

  /** Loss and gradient norm of the last step. */
  private void read(double learningRate) throws IOException {
    double[] values = last.read();
    if (values.length == 0) {
      return; // no step of this sitting was taken yet: all were left out
    }
    int losses = values.length - 1;
    double sum = 0;
    for (int i = 0; i < losses; i++) {
      sum += finite("loss", values[i], learningRate);
    }
    loss = sum / losses;
    norm = finite("gradient norm", values[losses], learningRate);
    objective.supervise();
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
                weights.values().device().isCpu() ? step + 1 : step,
                learningRate,
                last.map(path -> "The last good checkpoint is " + path + ": resume it with a lower")
                        .orElse("There is no checkpoint yet: start again with a lower")
                    + " learning rate, a longer warm-up or compute F32."));
  }

  private void report(double learningRate, long stepsNow, Clock before, Clock clock)
      throws IOException {
    double spent = clock.seconds() - secondsBefore;
    double gained = Math.max(1e-9, clock.progress() - before.progress());
    var report =
        new TrainListener.Report(
            step,
            Math.min(1, clock.progress()),
            loss,
            norm,
            learningRate,
            step * options.batch() * options.accumulate(),
            clock.seconds(),
            stepsNow * options.batch() * options.accumulate() / spent,
            Math.max(0, spent * (1 - clock.progress()) / gained));
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
            step,
            optimiser.steps(),
            ema == null ? 0 : ema.updates(),
            order.position(),
            seconds(),
            loss);
    Path saved = Checkpoint.save(folder, parts(), state, config.json(), options.keepCheckpoints());
    for (TrainListener listener : listeners) {
      listener.onCheckpoint(step, saved);
    }
  }

  /**
   * Runs {@code action} with the averaged weights in the model (the raw ones without averaging).
   */
  public <E extends Exception> void withAverages(Ema.Action<E> action) throws E {
    if (ema == null) {
      action.run();
    } else {
      ema.applied(action);
    }
  }

  /** Part of the run that is done, by the nearer of both limits; 1 or more at the end. */
  private Clock clock() {
    double seconds = seconds();
    double bySteps = options.steps() > 0 ? (double) step / options.steps() : 0;
    double byTime = options.minutes() > 0 ? seconds / (60 * options.minutes()) : 0;
    return new Clock(seconds, Math.max(bySteps, byTime));
  }

  private double seconds() {
    return secondsBefore + (nanos.getAsLong() - startedNanos) / 1e9;
  }

  private Checkpoint.Parts parts() {
    return new Checkpoint.Parts(weights, optimiser, ema, scale, objective.state(), rng);
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
    last.close();
    if (scale != null) {
      scale.close();
    }
    if (ema != null) {
      ema.close();
    }
    optimiser.close();
    weights.close();
    rng.close();
  }
}
