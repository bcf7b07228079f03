package org.perflow.serve;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.micrometer.core.instrument.MeterRegistry;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.OptionalInt;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.perflow.models.DiffusionModel;
import org.perflow.pipeline.Request;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Draws for many at once: a bounded queue before one worker that owns the models.
 *
 * <p>A picture does not depend on what is drawn beside it: each has a generator of its own. A
 * request with LoRAs leaves the weights as they were. Thread-safe; closing ends the jobs that are
 * left and frees the models.
 */
public final class Engine implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(Engine.class);
  private static final Duration SWEEP = Duration.ofMillis(500);
  private static final int FEW_STEPS = 8;
  private static final Caller ITSELF = new Caller("engine", null, "warm-up", false);

  private final EngineOptions options;
  private final JobQueue queue;
  private final ModelStore models;
  private final EngineMetrics metrics;
  private final @Nullable Journal journal;
  private final Thread worker;
  private final ScheduledExecutorService sweeper;
  private volatile boolean ready;
  private volatile boolean stopping;

  /**
   * Starts the worker, which loads the default model and warms up; jobs may come at once.
   *
   * @param registry for this engine alone, or for others too whose models have other names
   * @throws NoSuchFileException naming a model, LoRA, ControlNet or embedding that there is not
   */
  public Engine(EngineOptions options, MeterRegistry registry) throws IOException {
    checkThere("model", options.models());
    checkThere("LoRA", options.loras());
    checkThere("ControlNet", options.controlNets());
    checkThere("embedding", options.embeddings());
    this.options = options;
    queue = new JobQueue(options.queue(), options.keep());
    models = new ModelStore(options);
    metrics = new EngineMetrics(registry, queue, models, options);
    try {
      journal = options.journal() == null ? null : new Journal(options.journal());
    } catch (IOException | RuntimeException e) {
      metrics.close();
      throw e;
    }
    worker =
        new Thread(
            new Worker(options, queue, models, metrics, journal, this::over), "perflow draw");
    sweeper =
        Executors.newSingleThreadScheduledExecutor(
            work -> {
              Thread thread = new Thread(work, "perflow sweep");
              thread.setDaemon(true);
              return thread;
            });
    warmUp();
    worker.start();
    ScheduledFuture<?> unused =
        sweeper.scheduleWithFixedDelay(
            this::sweep, SWEEP.toMillis(), SWEEP.toMillis(), TimeUnit.MILLISECONDS);
  }

  private static void checkThere(String what, Map<String, Path> named) throws IOException {
    for (Path file : named.values()) {
      if (!Files.exists(file)) {
        throw new NoSuchFileException(file.toString(), null, "there is no such " + what);
      }
    }
  }

  /** The first job: one picture by the default model, or a step of it where it has many. */
  private void warmUp() {
    Request any = Request.of("a picture");
    Job job = queue.submit(JobRequest.of(options.defaultModel(), any), ITSELF, unused -> {});
    Thread watcher =
        new Thread(
            () -> {
              try {
                Job.Snapshot end = job.now();
                while (!end.state().isOver() && !(end.step() > 0 && end.steps() > FEW_STEPS)) {
                  end = job.await(end.version(), Duration.ofMinutes(1));
                }
                job.cancel("one step is enough to warm up");
                ready = end.state() != Job.State.FAILED;
              } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
              }
            },
            "perflow warm-up");
    watcher.setDaemon(true);
    watcher.start();
  }

  private void sweep() {
    try {
      queue.abandoned().forEach(job -> cancel(job, "its client is gone"));
      queue.expire().forEach(this::forget);
    } catch (RuntimeException e) {
      LOG.error("sweeping failed", e);
    }
  }

  private void forget(Job job) {
    if (journal != null) {
      try {
        journal.forget(job.id());
      } catch (UncheckedIOException e) { // at worst it is drawn again after the next start
        LOG.error("the journal forgets nothing id={}", job.id(), e);
      }
    }
  }

  private void over(Job job) {
    metrics.over(job);
    Job.Snapshot end = job.now();
    if (end.state() != Job.State.DONE && !stopping) { // else it is drawn after the next start
      forget(job);
    }
    LOG.info(
        "job over id={} state={} model=\"{}\" pictures={} seconds={} client=\"{}\"{}",
        job.id(),
        end.state(),
        job.request().model(),
        end.pictures().size(),
        Duration.between(job.accepted(), Instant.now()).toMillis() / 1e3,
        job.caller().client(),
        end.error() == null ? "" : " error=\"" + inOneLine(end.error().getMessage()) + "\"");
  }

  /** Messages quote what was asked, which must not look like a line of the log. */
  private static String inOneLine(@Nullable String message) {
    return String.valueOf(message).replaceAll("\\p{Cntrl}", " ").replace('"', '\'');
  }

  /** The settings. */
  public EngineOptions options() {
    return options;
  }

  /** Whether the default model is loaded and has drawn. */
  public boolean isReady() {
    return ready && worker.isAlive();
  }

  /**
   * Width and height that a model was made for; empty where only its weights tell, as those of a
   * single file do.
   */
  public OptionalInt ownSize(String model) {
    Path folder = options.models().get(model);
    if (folder == null || !Files.isDirectory(folder)) {
      return OptionalInt.empty();
    }
    try {
      return OptionalInt.of(DiffusionModel.pixels(folder));
    } catch (IOException e) {
      LOG.warn("no size to be read model=\"{}\"", model, e);
      return OptionalInt.empty();
    }
  }

  /** Names and bytes of the models in memory. */
  public Map<String, Long> loaded() {
    return models.loaded();
  }

  /**
   * Takes a request on. Whoever asks is attached to the job: {@link Job#detach} says that they do
   * not wait any more.
   *
   * @throws RefusedException where it means nothing, asks for more than is allowed or for what
   *     there is not, or where the queue is full
   */
  public Job submit(JobRequest request, Caller caller) {
    request.check(options);
    return queue.submit(request, caller, unused -> {});
  }

  /**
   * The same for a job that is to survive the process, where the options name a journal.
   *
   * @param source what {@link #restore} will read the request from
   */
  public Job submit(JobRequest request, Caller caller, ObjectNode source) {
    request.check(options);
    return queue.submit(
        request,
        caller,
        job -> {
          if (journal != null) {
            journal.accepted(job, source);
          }
        });
  }

  /**
   * Goes on with the jobs of the journal: those that were not done wait again, in their order and
   * before all new ones of a caller who does this first; those that were have their pictures.
   *
   * @param reader makes a request of its source
   */
  public void restore(Function<ObjectNode, JobRequest> reader) throws IOException {
    if (journal == null) {
      return;
    }
    for (Journal.Entry entry : journal.read()) {
      JobRequest request;
      try {
        request = reader.apply(entry.source());
        request.check(options);
      } catch (RuntimeException e) { // a model that is not served any more
        LOG.error("a job of before cannot be drawn now id={}", entry.id(), e);
        continue;
      }
      Job job = new Job(entry.id(), request, entry.caller());
      if (entry.pictures() != null) {
        job.restore(entry.pictures());
      }
      queue.restore(job);
    }
  }

  /** The job of that name, until its results expire. */
  public Optional<Job> find(String id) {
    return queue.find(id);
  }

  /** Jobs that are not over, oldest first. */
  public List<Job> unfinished() {
    return queue.unfinished();
  }

  /** Jobs that wait. */
  public int waiting() {
    return queue.length();
  }

  /**
   * How long what waits now will take, by the pace of what was drawn lately; empty before anything
   * was.
   */
  public Optional<Duration> backlog() {
    double seconds = 0;
    for (Job job : queue.waiting()) {
      OptionalDouble pace = metrics.pace(job.request().model());
      if (pace.isEmpty()) {
        return Optional.empty();
      }
      seconds += job.request().count() * pace.getAsDouble();
    }
    return Optional.of(Duration.ofMillis((long) (1000 * seconds)));
  }

  /** How many jobs are before {@code job}. */
  public int before(Job job) {
    return queue.before(job);
  }

  /**
   * Ends a job, waiting or drawn; what is drawn with it goes on. False where it was over.
   *
   * @param why in words for who waits for it
   */
  public boolean cancel(Job job, String why) {
    boolean cancelled = job.cancel(why);
    if (cancelled) {
      over(job);
    }
    return cancelled;
  }

  /**
   * Takes no more jobs, and waits for those there are; what is not over after {@code patience} is
   * cancelled. Returns the jobs that were.
   */
  public List<Job> drain(Duration patience) throws InterruptedException {
    stopping = true;
    queue.close();
    Instant end = Instant.now().plus(patience);
    List<Job> cancelled = new ArrayList<>();
    for (Job job : queue.unfinished()) {
      Job.Snapshot now = job.now();
      while (!now.state().isOver() && Instant.now().isBefore(end)) {
        now = job.await(now.version(), Duration.between(Instant.now(), end));
      }
      if (cancel(job, "the server was stopped")) {
        cancelled.add(job);
      }
    }
    return cancelled;
  }

  /** Takes no more jobs, and cancels those there are. */
  public void stop() {
    stopping = true;
    queue.close();
    queue.unfinished().forEach(job -> cancel(job, "the server was stopped"));
  }

  /** Ends what is left after the step that is drawn now, and frees the models. */
  @Override
  public void close() {
    stop();
    queue.end();
    sweeper.shutdownNow();
    try {
      worker.join();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    metrics.close();
    if (journal != null) {
      journal.close();
    }
  }
}
