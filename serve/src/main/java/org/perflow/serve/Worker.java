package org.perflow.serve;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import java.util.stream.IntStream;
import org.jspecify.annotations.Nullable;
import org.perflow.models.DiffusionModel;
import org.perflow.models.lora.AppliedLoras;
import org.perflow.pipeline.Control;
import org.perflow.pipeline.Pipeline;
import org.perflow.pipeline.Request;
import org.perflow.pipeline.StepListener;
import org.perflow.serve.JobQueue.Share;
import org.perflow.serve.ModelStore.Loaded;
import org.perflow.serve.RefusedException.Reason;
import org.perflow.tensor.Tensor;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The one thread that draws: it owns the models and their weights. Each round takes a batch from
 * the queue; LoRAs are in the model for that batch alone.
 */
final class Worker implements Runnable {
  private static final Logger LOG = LoggerFactory.getLogger(Worker.class);

  private final EngineOptions options;
  private final JobQueue queue;
  private final ModelStore models;
  private final EngineMetrics metrics;
  private final @Nullable Journal journal;
  private final Consumer<Job> over;

  /** {@code over} is told of each job that ends here. */
  Worker(
      EngineOptions options,
      JobQueue queue,
      ModelStore models,
      EngineMetrics metrics,
      @Nullable Journal journal,
      Consumer<Job> over) {
    this.options = options;
    this.queue = queue;
    this.models = models;
    this.metrics = metrics;
    this.journal = journal;
    this.over = over;
  }

  /** Nobody wants what is drawn any more. */
  private static final class AbandonedException extends RuntimeException {
    private static final long serialVersionUID = 1;

    AbandonedException() {
      super(null, null, false, false);
    }
  }

  /** A picture of a batch. */
  private record Unit(Job job, Request request) {}

  @Override
  public void run() {
    try {
      List<Share> shares = queue.take(any -> options.batch());
      while (!shares.isEmpty()) {
        draw(shares);
        shares = queue.take(any -> options.batch());
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } finally {
      models.close();
    }
  }

  /** One that fails takes no other with it: what was to be drawn together is drawn one by one. */
  private void draw(List<Share> shares) {
    shares.forEach(share -> share.job().begin());
    try {
      attempt(shares);
    } catch (AbandonedException e) {
      LOG.debug("nobody waits for the batch any more");
    } catch (RuntimeException | IOException | Error e) { // others are drawn after it
      if (shares.size() == 1) {
        fail(shares.get(0).job(), e);
      } else {
        shares.stream()
            .filter(share -> !share.job().isOver())
            .forEach(share -> draw(List.of(rest(share))));
      }
    }
  }

  /** Without what a batch that failed had drawn. */
  private static Share rest(Share share) {
    int done = share.job().now().pictures().size() - share.first();
    return new Share(share.job(), share.first() + done, share.count() - done);
  }

  private void fail(Job job, Throwable e) {
    RefusedException why;
    if (e instanceof RefusedException refused) {
      why = refused;
    } else if (e instanceof IllegalArgumentException) {
      why = new RefusedException(Reason.BAD_REQUEST, models.withoutPaths(e.getMessage()), e);
    } else {
      LOG.error("job failed id={} model=\"{}\"", job.id(), job.request().model(), e);
      why = new RefusedException(Reason.FAILED, "drawing failed; the server's log says why", e);
    }
    if (job.fail(why)) {
      over.accept(job);
    }
  }

  private void attempt(List<Share> shares) throws IOException {
    JobRequest first = shares.get(0).job().request();
    models.begin();
    Loaded loaded = models.model(first.model());
    List<Control> controls = new ArrayList<>();
    for (JobRequest.ControlUse use : first.controls()) {
      controls.add(
          new Control(
              models.controlNet(use.net()), use.picture(), use.scale(), use.start(), use.end()));
    }
    List<AppliedLoras.Source> sources =
        first.loras().entrySet().stream()
            .map(lora -> new AppliedLoras.Source(models.lora(lora.getKey()), lora.getValue()))
            .toList();
    long copies = sources.isEmpty() ? 0 : MemoryEstimate.withLoras(loaded.model());
    checkRoom(copies, "the LoRAs");
    try (AppliedLoras added = AppliedLoras.fuse(loaded.model(), sources)) {
      Pipeline pipe = pipeline(loaded, added.scheduler(), first);
      List<Unit> units = units(shares, controls);
      int room = room(loaded, pipe.complete(units.get(0).request()), units.size(), copies);
      shares.forEach(share -> added.notes().forEach(n -> share.job().note(models.withoutPaths(n))));
      for (int from = 0; from < units.size(); from += room) {
        draw(loaded, pipe, units.subList(from, Math.min(units.size(), from + room)));
      }
    }
  }

  private static List<Unit> units(List<Share> shares, List<Control> controls) {
    return shares.stream()
        .flatMap(
            share ->
                IntStream.range(share.first(), share.first() + share.count())
                    .mapToObj(
                        i ->
                            new Unit(
                                share.job(),
                                share
                                    .job()
                                    .request()
                                    .picture(i)
                                    .withControls(controls.toArray(Control[]::new)))))
        .toList();
  }

  private Pipeline pipeline(Loaded loaded, @Nullable ObjectNode lorasOwn, JobRequest request) {
    if (request.scheduler() != null) {
      return loaded.pipeline().withScheduler(request.scheduler());
    }
    return lorasOwn == null
        ? loaded.pipeline()
        : models.pipeline(loaded.model().withScheduler(lorasOwn));
  }

  /** How many of {@code wanted} pictures fit into memory at once; refused where not even one. */
  private int room(Loaded loaded, Request request, int wanted, long copies) {
    DiffusionModel model = loaded.model();
    int own = model.unet().config().sampleSize() * model.vae().config().downsampling();
    BufferedImage image = request.image();
    int width = request.width() > 0 ? request.width() : image == null ? own : image.getWidth();
    int height = request.height() > 0 ? request.height() : image == null ? own : image.getHeight();
    JobRequest.require((long) width * height, options.limits().pixels(), "pixels");
    JobRequest.require(request.steps(), options.limits().steps(), "steps");
    boolean guided = !request.guidance().isNone();
    for (int pictures = wanted; ; pictures /= 2) {
      long bytes =
          MemoryEstimate.drawing(
              model, options.compute(), width, height, pictures, guided, request.vaeTiling());
      if (models.roomFor(copies + bytes)) {
        return pictures;
      }
      if (pictures == 1) {
        checkRoom(copies + bytes, "a picture of %dx%d".formatted(width, height));
      }
    }
  }

  private void checkRoom(long bytes, String what) {
    if (!models.roomFor(bytes)) {
      throw new RefusedException(
          Reason.TOO_LARGE,
          "%s: some %,d MB are needed besides the model, %,d MB are allowed for both"
              .formatted(what, bytes >> 20, options.memory() >> 20));
    }
  }

  private void draw(Loaded loaded, Pipeline pipe, List<Unit> units) {
    List<Request> requests = units.stream().map(Unit::request).toList();
    Request first = pipe.complete(requests.get(0));
    for (Unit unit : units) {
      pipe.warnings(List.of(unit.request())).forEach(unit.job()::note);
      if (unit.request().negativePrompt() != null && first.guidance().isNone()) {
        unit.job()
            .note(
                "the negative prompt says nothing at guidance %s; ask for more than 1"
                    .formatted(first.guidance()));
      }
    }
    Instant begin = Instant.now();
    pipe.generate(requests, requests.size(), new Listener(loaded, pipe, units)).close();
    Duration took = Duration.between(begin, Instant.now());
    metrics.batch(loaded.name(), units.size(), first.steps(), took);
    LOG.info(
        "drawn model=\"{}\" pictures={} steps={} seconds={}",
        loaded.name(),
        units.size(),
        first.steps(),
        took.toMillis() / 1e3);
  }

  /** Shows each job how far it is, and gives it its pictures. */
  private final class Listener implements StepListener {
    private final Loaded loaded;
    private final Pipeline pipe;
    private final List<Unit> units;
    private final Set<Job> jobs;
    private int drawn;

    Listener(Loaded loaded, Pipeline pipe, List<Unit> units) {
      this.loaded = loaded;
      this.pipe = pipe;
      this.units = units;
      this.jobs =
          units.stream().map(Unit::job).collect(Collectors.toCollection(LinkedHashSet::new));
    }

    @Override
    public void step(int done, int total, Tensor latents) {
      stopWhereOver();
      for (Job job : jobs) {
        int row = row(job);
        boolean here = row >= 0 && row < latents.size(0);
        double noise = 1 - (double) done / total; // near enough, whatever the sampler
        BufferedImage seen =
            here && job.isWatched() ? loaded.previews().of(latents, row, noise) : null;
        job.progress(done, total, seen);
      }
    }

    /** Where the first picture of {@code job} that is not done yet is in what is drawn now. */
    private int row(Job job) {
      for (int i = drawn; i < units.size(); i++) {
        if (units.get(i).job() == job) {
          return i - drawn;
        }
      }
      return -1;
    }

    private void stopWhereOver() {
      Instant now = Instant.now();
      for (Job job : jobs) {
        Instant begun = job.begun();
        if (begun != null && begun.plus(options.patience()).isBefore(now)) {
          fail(
              job,
              new RefusedException(
                  Reason.TIMEOUT,
                  "not done after %d seconds, which is all that a job may take"
                      .formatted(options.patience().toSeconds())));
        }
      }
      if (jobs.stream().allMatch(Job::isOver)) {
        throw new AbandonedException();
      }
    }

    @Override
    public void drawn(int index, BufferedImage picture) {
      drawn = index + 1;
      Unit unit = units.get(index);
      JobRequest asked = unit.job().request();
      Map<String, String> settings = PictureSettings.of(pipe, unit.request(), asked);
      DrawnPicture done =
          new DrawnPicture(
              picture, unit.request().seed(), asked.format(), asked.quality(), settings);
      if (journal != null && !unit.job().isOver()) {
        journal.drawn(unit.job(), unit.job().now().pictures().size(), done);
      }
      if (unit.job().drawn(done)) {
        over.accept(unit.job());
      }
    }
  }
}
