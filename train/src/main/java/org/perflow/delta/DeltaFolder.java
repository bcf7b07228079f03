package org.perflow.delta;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.UUID;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.Parameterization;
import org.perflow.flow.PredictionType;
import org.perflow.flow.TimeWindows;
import org.perflow.flow.sampler.PerflowScheduler;
import org.perflow.io.AtomicFiles;
import org.perflow.io.FormatException;
import org.perflow.io.Inside;
import org.perflow.io.Json;
import org.perflow.io.NamedTensors;
import org.perflow.io.WeightFiles;
import org.perflow.models.DiffusionModel;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.DType;

/**
 * Deltas of whole diffusers folders: taken of two, with what a student's sampler must know, and
 * added to one: the base's files with an accelerated U-Net and the student's scheduler. All other
 * parts are copied as they are, so any pipeline of diffusers will do.
 *
 * <pre>{@code
 * Path delta = Path.of("delta.safetensors");
 * DeltaFolder.extract(
 *     Path.of("models/emoji-64"), Path.of("runs/first/student"), delta, DType.F16);
 * DeltaFolder.apply(
 *     Path.of("my-finetune"),
 *     delta,
 *     Path.of("my-fast-model"),
 *     DeltaFolder.Sampler.OF_DELTA,
 *     Delta.Options.DEFAULTS.withAnyBase(true), // a fine-tune of the base
 *     Map.of());
 * }</pre>
 */
public final class DeltaFolder {
  private static final String INDEX = "model_index.json";
  private static final String SCHEDULER = "scheduler/scheduler_config.json";
  private static final String WEIGHTS = "diffusion_pytorch_model";

  private DeltaFolder() {}

  /**
   * How the result is sampled, where the delta does not say.
   *
   * @param parameterization what the student predicts; null = as the delta says
   * @param windows K
   */
  public record Sampler(@Nullable Parameterization parameterization, int windows) {
    /** As the delta says. */
    public static final Sampler OF_DELTA = new Sampler(null, 4);
  }

  /**
   * Writes student − base, worked out in float32 and stored as {@code type}. Of two diffusers
   * folders the delta also knows how the student is sampled.
   *
   * @param base a diffusers folder or a weights file of any kind, as is {@code student}
   * @throws FormatException where the two do not fit, with nothing written
   */
  public static void extract(Path base, Path student, Path delta, DType type) throws IOException {
    Path from = weights(base);
    Path to = weights(student);
    Map<String, String> about = new TreeMap<>(Provenance.of(from, "extract", to, 1).asMetadata());
    if (Files.exists(base.resolve(SCHEDULER)) && Files.exists(student.resolve(SCHEDULER))) {
      ObjectNode sampled = checked(student.resolve(SCHEDULER));
      about.putAll(Delta.sampler(sampled, checked(base.resolve(SCHEDULER))));
    }
    Delta.extract(from, to, delta, type, about);
  }

  /**
   * Writes {@code base} with the delta added into {@code out}, all of it or nothing.
   *
   * @throws FormatException where delta or sampler settings do not fit the base
   */
  public static void apply(
      Path base,
      Path delta,
      Path out,
      Sampler sampler,
      Delta.Options options,
      Map<String, String> about)
      throws IOException {
    ObjectNode index = Json.readObject(base.resolve(INDEX));
    DiffusionModel.refuseForeign(out);
    Path change = weights(delta);
    ObjectNode scheduler = scheduler(base, delta, Delta.info(change), sampler);
    Path target = out.toAbsolutePath().normalize();
    Path beside = target.resolveSibling("." + target.getFileName() + "." + UUID.randomUUID());
    try {
      for (var part : index.properties()) {
        boolean named = part.getValue().isArray() && !part.getValue().path(0).isNull();
        Path from = Inside.child(base, part.getKey(), base.resolve(INDEX));
        if (named && Files.isDirectory(from)) {
          copy(base, from, beside);
        } else if (named) { // such as the safety checker, which is not fetched
          part.setValue(index.arrayNode().addNull().addNull());
        }
      }
      Path unet = beside.resolve("unet").resolve(WEIGHTS + ".safetensors");
      Delta.apply(weights(base), change, unet, options, about);
      if (!options.skips(Delta.GUIDANCE_LAYER)) {
        addGuidanceLayer(change, beside.resolve("unet/config.json"));
      }
      Json.write(beside.resolve(SCHEDULER), scheduler);
      if (SchedulerConfig.isStudents(scheduler)) {
        String type = SchedulerConfig.classInIndex(scheduler);
        index.putArray("scheduler").add("diffusers").add(type);
      }
      Json.write(beside.resolve(INDEX), index);
      AtomicFiles.replaceDirectory(beside, target);
    } finally {
      AtomicFiles.deleteDirectory(beside);
    }
  }

  /**
   * The U-Net's weights, or the delta, that a path stands for: itself, or those of a folder ({@code
   * unet/} of a diffusers folder) in any form that {@link WeightFiles#find} knows, named {@code
   * diffusion_pytorch_model}, {@code delta} or {@code delta_weights}.
   */
  public static Path weights(Path fileOrFolder) throws IOException {
    if (!Files.isDirectory(fileOrFolder)) {
      return fileOrFolder;
    }
    Path unet = fileOrFolder.resolve("unet");
    Path folder = Files.isDirectory(unet) ? unet : fileOrFolder;
    return WeightFiles.find(folder, WEIGHTS, "delta", "delta_weights");
  }

  /** Says in the U-Net's config that it embeds its guidance, where the delta has that layer. */
  private static void addGuidanceLayer(Path delta, Path config) throws IOException {
    try (NamedTensors change = Delta.open(delta)) {
      NamedTensors.Entry layer = change.entries().get(Delta.GUIDANCE_LAYER);
      if (layer != null) {
        if (layer.shape().length != 2) {
          throw new FormatException(
              "%s: %s is %s, expected a matrix"
                  .formatted(delta, layer.name(), Arrays.toString(layer.shape())));
        }
        ObjectNode unet = Json.readObject(config);
        Json.write(config, unet.put("time_cond_proj_dim", layer.shape()[1]));
      }
    }
  }

  // ---------------------------------------------------------------- sampler

  /** The scheduler config of the result. */
  private static ObjectNode scheduler(Path base, Path delta, Delta.Info info, Sampler sampler)
      throws IOException {
    Path file = base.resolve(SCHEDULER);
    ObjectNode own = checked(file);
    if (SchedulerConfig.isStudents(own)) {
      throw new FormatException(base + " is accelerated already; add a delta to its teacher");
    }
    String prediction = own.path("prediction_type").asText("epsilon");
    if (!info.basePrediction().isEmpty() && !info.basePrediction().equals(prediction)) {
      throw new FormatException(
          "%s changes a network that predicts %s; that of %s predicts %s"
              .formatted(delta, info.basePrediction(), base, prediction));
    }
    ObjectNode said = info.scheduler() != null ? info.scheduler() : beside(delta);
    ObjectNode config;
    if (sampler.parameterization() != null) {
      TimeWindows windows = new TimeWindows(sampler.windows());
      config = PerflowScheduler.config(own, windows, sampler.parameterization(), false);
    } else if (said != null && !SchedulerConfig.isStudents(said)) {
      return own; // a delta of two plain models, a fine-tuning say
    } else if (said != null) {
      config = said;
      if (NoiseSchedule.isIn(said)) { // else the student has straight lines instead
        requireSameNoise(delta, NoiseSchedule.of(said), file, NoiseSchedule.of(own));
      }
      if (!SchedulerConfig.isPerflow(said)) {
        return said;
      }
    } else {
      throw new IllegalArgumentException(
          delta
              + " does not say how its model is sampled: name parameterization and windows (published"
              + " deltas have 4 windows, and diff_eps for SD-1.5, velocity for SD-2.1, ddim_eps for"
              + " SDXL)");
    }
    PerflowScheduler.flow(config).parameterization().requireStart(PredictionType.parse(prediction));
    return config;
  }

  private static ObjectNode checked(Path scheduler) throws IOException {
    return SchedulerConfig.checked(scheduler, Json.readObject(scheduler));
  }

  /** A student's scheduler config that lies with the delta. */
  private static @Nullable ObjectNode beside(Path delta) throws IOException {
    Path folder = Files.isDirectory(delta) ? delta : delta.toAbsolutePath().getParent();
    for (String name : List.of(SCHEDULER, "scheduler_config.json")) {
      Path file = folder == null ? Path.of(name) : folder.resolve(name);
      if (Files.exists(file)) {
        ObjectNode config = Json.readObject(file);
        if (SchedulerConfig.isStudents(config)) {
          return SchedulerConfig.checked(file, config);
        }
      }
    }
    return null;
  }

  private static void requireSameNoise(Path delta, NoiseSchedule one, Path base, NoiseSchedule two)
      throws FormatException {
    boolean same = one.size() == two.size();
    for (int i = 0; same && i < one.size(); i++) {
      same = Math.abs(one.alphaBar(i) - two.alphaBar(i)) < 1e-5;
    }
    if (!same) {
      throw new FormatException(
          "%s was trained on another noise schedule than %s has: take a base with the same betas"
              .formatted(delta, base));
    }
  }

  // ---------------------------------------------------------------- files

  /** A part of the base, less the weights that are written anew. */
  private static void copy(Path base, Path part, Path to) throws IOException {
    boolean unet = part.endsWith("unet");
    for (Path source : Inside.tree(base, part)) {
      Path target = to.resolve(base.relativize(source).toString());
      if (Files.isDirectory(source)) {
        Files.createDirectories(target);
      } else if (!unet || !source.getFileName().toString().startsWith(WEIGHTS)) {
        Files.copy(source, target);
      }
    }
  }
}
