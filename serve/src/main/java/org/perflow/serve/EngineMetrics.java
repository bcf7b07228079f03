package org.perflow.serve;

import io.micrometer.core.instrument.Counter;
import io.micrometer.core.instrument.DistributionSummary;
import io.micrometer.core.instrument.Gauge;
import io.micrometer.core.instrument.Meter;
import io.micrometer.core.instrument.MeterRegistry;
import io.micrometer.core.instrument.Timer;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.OptionalDouble;
import java.util.concurrent.ConcurrentHashMap;
import org.perflow.tensor.Scope;

/**
 * What an engine counts and measures, by model. Thread-safe.
 *
 * <p>Counters of engines that share a registry add up. What one engine holds now cannot: such a
 * gauge is for one engine and ends with it.
 */
final class EngineMetrics implements AutoCloseable {
  private static final String QUEUE = "perflow.queue.length";
  private static final String PROCESS = "perflow.memory.process";
  private static final String MODEL = "model";
  private static final double NEWEST = 0.2; // share of the newest batch in the pace

  private final MeterRegistry registry;
  private final List<Meter> own = new ArrayList<>();
  private final Map<String, Double> pace = new ConcurrentHashMap<>(); // seconds a picture, by model

  EngineMetrics(MeterRegistry registry, JobQueue queue, ModelStore models, EngineOptions options) {
    this.registry = registry;
    if (registry.find(PROCESS).gauge() == null) { // of the process, whichever engine tells them
      Gauge.builder(PROCESS, Scope::physicalBytes)
          .description("Physical memory of the process")
          .baseUnit("bytes")
          .register(registry);
      Gauge.builder("perflow.native.objects", Scope::liveObjects)
          .description("Native objects that exist: flat where nothing leaks")
          .register(registry);
    }
    for (String name : options.models().keySet()) {
      refuseShared(name);
      own.add(
          Gauge.builder(QUEUE, () -> queue.length(name))
              .description("Jobs that wait")
              .tag(MODEL, name)
              .register(registry));
      own.add(
          Gauge.builder("perflow.memory.weights", () -> models.loaded().getOrDefault(name, 0L))
              .description("Weights in memory")
              .baseUnit("bytes")
              .tag(MODEL, name)
              .register(registry));
    }
  }

  /** A gauge that is there already would go on showing the other engine alone. */
  private void refuseShared(String name) {
    if (registry.find(QUEUE).tag(MODEL, name).gauge() != null) {
      close();
      throw new IllegalArgumentException(
          "another engine counts a model '%s' in this registry; give this one a registry of its own, or its models other names"
              .formatted(name));
    }
  }

  /** Ends the gauges, which would keep the engine in memory. */
  @Override
  public void close() {
    own.forEach(registry::remove);
  }

  /** A batch was drawn. */
  void batch(String model, int pictures, int steps, Duration took) {
    Timer.builder("perflow.draw")
        .description("Time of a batch, from captions to pictures")
        .tag(MODEL, model)
        .publishPercentiles(0.5, 0.95)
        .register(registry)
        .record(took);
    DistributionSummary.builder("perflow.batch.size")
        .description("Pictures of a batch")
        .tag(MODEL, model)
        .register(registry)
        .record(pictures);
    counter("perflow.pictures", "Pictures drawn", model).increment(pictures);
    counter("perflow.steps", "Steps of all pictures; its rate is steps a second", model)
        .increment((double) pictures * steps);
    double seconds = took.toNanos() / 1e9 / pictures;
    pace.merge(model, seconds, (before, now) -> before + NEWEST * (now - before));
  }

  /** Seconds a picture of that model has taken lately, the mean of all where it has drawn none. */
  OptionalDouble pace(String model) {
    Double own = pace.get(model);
    return own != null
        ? OptionalDouble.of(own)
        : pace.values().stream().mapToDouble(Double::doubleValue).average();
  }

  /** A job is over. */
  void over(Job job) {
    Job.State state = job.now().state();
    String model = job.request().model();
    Counter.builder("perflow.jobs")
        .description("Jobs that are over")
        .tag(MODEL, model)
        .tag("state", state.name().toLowerCase(Locale.ROOT))
        .register(registry)
        .increment();
    if (job.begun() != null) {
      Timer.builder("perflow.wait")
          .description("Time that jobs waited before they were drawn")
          .tag(MODEL, model)
          .publishPercentiles(0.5, 0.95)
          .register(registry)
          .record(Duration.between(job.accepted(), job.begun()));
    }
  }

  private Counter counter(String name, String description, String model) {
    return Counter.builder(name).description(description).tag(MODEL, model).register(registry);
  }
}
