package org.perflow.distill.rectified;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.perflow.distill.Task;
import org.perflow.flow.Conditioning;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.TeacherSolver;
import org.perflow.flow.sampler.Sampling;
import org.perflow.flow.sampler.Scheduler;
import org.perflow.flow.sampler.Schedulers;
import org.perflow.io.Fingerprint;
import org.perflow.io.FormatException;
import org.perflow.io.SafetensorsFile;
import org.perflow.io.SafetensorsWriter;
import org.perflow.pipeline.SeededNoise;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.train.Examples;
import org.perflow.train.Progress;

/**
 * The teacher's own pictures, each with the noise it was drawn from and its caption: made once by
 * the teacher's sampler or a solver of its ODE, kept in shards {@code pairs-00000.safetensors} ...
 * of {@value #SHARD} and in the host's memory. Of the noise its seed is kept. A shard depends on
 * its number and on what the key is taken of (teacher, sampler, guidance, data, seed), so that
 * making them goes on after an interruption where it was, a store can grow, and runs can share one.
 * Owns its native memory. One thread.
 */
public final class TeacherPairs implements AutoCloseable {
  private static final int SHARD = 256;
  private static final int BATCH = 64;
  private static final String SECONDS = "seconds";
  private static final long MIX = 0x9E3779B97F4A7C15L; // spreads neighbouring shards over all seeds

  private final long[] seeds;
  private final Tensor samples; // [N, C, h, w] float32
  private final Conditioning conditions; // N rows
  private final Examples data; // where batches go
  private final double seconds;

  private TeacherPairs(Part whole, Scope theirs, Examples data) {
    this.data = data;
    Map<String, Tensor> all = whole.tensors();
    seeds = all.get("seed").toLongArray();
    samples = theirs.release(all.get("sample"));
    conditions = Conditioning.of(all).each(theirs::release);
    seconds = whole.seconds();
  }

  /**
   * Some of the pairs.
   *
   * @param noise standard normal, float32 [B, C, h, w]
   * @param sample what the teacher made of it, scaled latents of the same shape
   * @param condition its captions, B rows
   */
  public record Batch(Tensor noise, Tensor sample, Conditioning condition) {}

  /**
   * How pairs are made.
   *
   * @param count how many
   * @param solver of the teacher's ODE; null for the sampler of the teacher's own config
   * @param steps of that sampler, evaluations of that solver
   * @param guidance of the teacher; 1 = none
   * @param folder of the shards; empty for {@code pairs} in the run's
   */
  public record Settings(
      int count, @Nullable TeacherSolver solver, int steps, double guidance, String folder) {
    public Settings {
      if (count < 1 || steps < 1 || !(guidance >= 1)) {
        throw new IllegalArgumentException(
            "pairs and pairSteps must be 1 or more, and guidance 1 (none) or more; got %d, %d and %s"
                .formatted(count, steps, guidance));
      }
      if (solver != null) {
        solver.steps(steps); // refuses what makes no whole number of steps
      }
    }

    /** Refuses a solver of noise tables for a teacher that has none. */
    void require(ObjectNode teacher) {
      if (solver != null) {
        NoiseSchedule unused = NoiseSchedule.of(teacher);
      }
    }
  }

  /**
   * Reads what there is and has the teacher draw the rest.
   *
   * @throws UncheckedIOException naming the shard that is missing, damaged or of something else
   */
  public static TeacherPairs of(Task task, Settings settings) {
    String given = settings.folder();
    Path folder = given.isEmpty() ? task.folder().resolve("pairs") : Path.of(given);
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      return new TeacherPairs(all(task, settings, folder), scope, task.data());
    } catch (IOException e) {
      throw new UncheckedIOException(e.getMessage(), e);
    }
  }

  /** Pairs, and what making them took. */
  private record Part(Map<String, Tensor> tensors, double seconds) {}

  private static Part all(Task task, Settings settings, Path folder) throws IOException {
    Files.createDirectories(folder);
    String key = key(task, settings);
    int count = settings.count();
    int shards = (count + SHARD - 1) / SHARD;
    refuseGaps(folder, shards);
    List<Part> parts = new ArrayList<>();
    try (Progress progress = new Progress("pairs of the teacher")) {
      for (int shard = 0; shard < shards; shard++) {
        int rows = Math.min(SHARD, count - shard * SHARD);
        Path file = file(folder, shard);
        Part part = Files.exists(file) ? stored(file, key, rows) : null;
        if (part == null) {
          part = made(task, settings, shard, rows, progress);
          Map<String, String> header = Map.of("key", key, SECONDS, Double.toString(part.seconds()));
          SafetensorsWriter.write(file, part.tensors(), header);
        }
        parts.add(part);
        progress.at((long) shard * SHARD + rows, count);
      }
    }
    Map<String, Tensor> all = new LinkedHashMap<>();
    for (String name : parts.get(0).tensors().keySet()) {
      all.put(name, Tensor.cat(0, parts.stream().map(part -> part.tensors().get(name)).toList()));
    }
    return new Part(all, parts.stream().mapToDouble(Part::seconds).sum());
  }

  private static Path file(Path folder, int shard) {
    return folder.resolve("pairs-%05d.safetensors".formatted(shard));
  }

  /** Of all that the pairs depend on. */
  private static String key(Task task, Settings settings) {
    try (Rng rng = Rng.seeded(0)) {
      long[] first = new long[Math.min(16, task.data().size())];
      Arrays.setAll(first, i -> i);
      List<String> sources = new ArrayList<>();
      sources.add(Fingerprint.of(task.teacher().net().parameters()));
      sources.add(task.teacher().scheduler().toString());
      sources.add(settings.steps() + " " + settings.guidance() + " " + task.train().seed());
      if (settings.solver() != null) {
        sources.add(settings.solver().name());
      }
      sources.add(task.data().size() + " " + Arrays.toString(task.data().shape()));
      sources.add(Fingerprint.of(task.data().nullCondition().text()));
      sources.add(Fingerprint.of(task.data().conditions(first, rng).text()));
      return Fingerprint.of(sources);
    }
  }

  // ---------------------------------------------------------------- shards on disk

  /** Shards are made in order: one that is not there while a later one is has been lost. */
  private static void refuseGaps(Path folder, int shards) throws IOException {
    for (int shard = 1; shard < shards; shard++) {
      if (Files.exists(file(folder, shard)) && !Files.exists(file(folder, shard - 1))) {
        throw new IOException(
            "%s is missing, but %s is there: put it back, or remove the shards after it and they are"
                    .formatted(file(folder, shard - 1), file(folder, shard).getFileName())
                + " made again");
      }
    }
  }

  /** The first {@code rows} of a shard; null where it holds fewer and must be made longer. */
  private static @Nullable Part stored(Path file, String key, int rows) throws IOException {
    try (SafetensorsFile shard = SafetensorsFile.open(file)) {
      if (!key.equals(shard.metadata().get("key"))) {
        throw new IOException(
            file
                + " holds pairs of another teacher, sampler, guidance, data or seed: choose another"
                + " pairsFolder, or folder of the run, or remove the shards and they are made again");
      }
      Map<String, Tensor> part = new LinkedHashMap<>();
      double seconds = Double.parseDouble(shard.metadata().getOrDefault(SECONDS, "0"));
      double share = 1;
      for (String name : shard.entries().keySet()) {
        Tensor tensor = shard.read(name);
        if (tensor.size(0) < rows) {
          return null;
        }
        share = (double) rows / tensor.size(0);
        part.put(name, tensor.narrow(0, 0, rows));
      }
      return new Part(part, share * seconds);
    } catch (FormatException e) {
      throw new FormatException(e.getMessage() + ", or remove it and it is made again", e);
    }
  }

  // ---------------------------------------------------------------- the teacher draws

  private static Part made(Task task, Settings settings, int shard, int rows, Progress progress) {
    long begin = System.nanoTime();
    long[] seeds;
    Conditioning told;
    try (Rng rng = Rng.seeded(task.train().seed() + (shard + 1) * MIX)) {
      seeds = Tensor.randint(rng, 1L << 32, SHARD).toLongArray();
      long[] examples = Tensor.randint(rng, task.data().size(), SHARD).toLongArray();
      told = task.data().conditions(examples, rng).narrow(0, rows);
    }
    List<Tensor> samples = new ArrayList<>();
    for (int from = 0; from < rows; from += BATCH) {
      int to = Math.min(rows, from + BATCH);
      long[] some = Arrays.copyOfRange(seeds, from, to);
      samples.add(draw(task, settings, some, told.narrow(from, to - from)).to(Device.CPU));
      progress.at((long) shard * SHARD + to, settings.count());
    }
    Map<String, Tensor> part = new LinkedHashMap<>();
    part.put("seed", Tensor.of(Arrays.copyOf(seeds, rows)));
    part.put("sample", Tensor.cat(0, samples));
    part.putAll(told.to(Device.CPU).named());
    return new Part(part, (System.nanoTime() - begin) / 1e9);
  }

  /** What the teacher makes of those noises. */
  private static Tensor draw(Task task, Settings settings, long[] seeds, Conditioning told) {
    if (settings.solver() == null) {
      return sampled(task, settings, seeds, told);
    }
    try (SeededNoise noise = new SeededNoise(seeds)) {
      Tensor z = noise.draw(task.data().shape()).to(task.data().device());
      return task.solved(settings.solver(), settings.steps(), settings.guidance(), z, told);
    }
  }

  /** By its own sampler. */
  private static Tensor sampled(Task task, Settings settings, long[] seeds, Conditioning told) {
    Task.Teacher teacher = task.teacher();
    try (SeededNoise noise = new SeededNoise(seeds);
        Scheduler scheduler = Schedulers.create(teacher.scheduler(), settings.steps());
        Scope scope = Scope.open()) {
      Sampling sampling =
          new Sampling(
              scheduler, teacher.net(), told, task.data().nullCondition(), settings.guidance());
      Tensor z = noise.draw(task.data().shape()).to(task.data().device());
      List<Tensor> states = sampling.fromNoise(z, noise);
      return scope.keep(states.get(states.size() - 1));
    }
  }

  // ---------------------------------------------------------------- use

  /**
   * Seconds that the teacher drew them for, whether for this run or an earlier one; 0 where shards
   * of earlier versions do not say.
   */
  public double seconds() {
    return seconds;
  }

  /** How many pairs. */
  public int size() {
    return seeds.length;
  }

  /** Those pairs, in the caller's scope. */
  public Batch batch(long[] which) {
    long[] own = new long[which.length];
    Arrays.setAll(own, i -> seeds[(int) which[i]]);
    long[] shape = samples.shape();
    Tensor index = Tensor.of(which);
    try (SeededNoise noise = new SeededNoise(own)) {
      return new Batch(
          noise.draw(Arrays.copyOfRange(shape, 1, shape.length)).to(data.device()),
          samples.indexSelect(0, index).to(data.device()),
          conditions.each(x -> x.indexSelect(0, index)).to(data.device()));
    }
  }

  @Override
  public void close() {
    samples.close();
    conditions.tensors().forEach(Tensor::close);
  }
}
