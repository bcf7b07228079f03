package org.perflow.delta;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.soabase.recordbuilder.core.RecordBuilder;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;
import org.perflow.io.Fingerprint;
import org.perflow.io.FormatException;
import org.perflow.io.Json;
import org.perflow.io.LazyTensor;
import org.perflow.io.NamedTensors;
import org.perflow.io.SafetensorsWriter;
import org.perflow.io.TensorView;
import org.perflow.io.WeightFiles;
import org.perflow.io.WeightsKind;
import org.perflow.io.WeightsKind.Part;
import org.perflow.models.SchedulerConfig;
import org.perflow.models.SingleFile;
import org.perflow.models.lora.LoraFile;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * What acceleration changed: student minus teacher, tensor by tensor, worked out in float32. It can
 * be added to the weights it was taken against (checked by hash), or to a fine-tuned relative of
 * them. Its header says what it fits and how the result is sampled; published deltas that say
 * nothing are taken by their names and shapes. {@link DeltaFolder} works on whole models.
 *
 * <pre>{@code
 * List<Path> seeds =
 *     List.of(
 *         Path.of("runs/1/student/delta.safetensors"),
 *         Path.of("runs/2/student/delta.safetensors"));
 * Path mean = Path.of("mean.safetensors");
 * Delta.mean(seeds, mean); // draws nearer to the teacher than either
 * System.out.println(Delta.info(mean).family());
 * Path base = DeltaFolder.weights(Path.of("models/emoji-64"));
 * Delta.apply(base, mean, Path.of("student.safetensors"), Delta.Options.DEFAULTS, Map.of());
 * }</pre>
 */
public final class Delta {
  static final String BASE = "base_sha256";
  static final String FAMILY = "base_family";
  static final String ARCHITECTURE = "base_architecture";
  static final String PREDICTION = "base_prediction_type";
  private static final String SCALE = "scale";

  /** Embeds a student's guidance; a base without it counts as one where it is zero. */
  static final String GUIDANCE_LAYER = "time_embedding.cond_proj.weight";

  private static final int LISTED = 20;

  private Delta() {}

  /** Size of the change of one weight. */
  @SuppressWarnings("ArrayRecordComponent") // printed, never compared
  public record Layer(String name, long[] shape, double norm, double largest) {}

  /** Norm of the change of all weights together. */
  public static double norm(List<Layer> layers) {
    return Math.sqrt(layers.stream().mapToDouble(layer -> layer.norm() * layer.norm()).sum());
  }

  /**
   * What a delta says of itself.
   *
   * @param family what it fits, judged by names and shapes, such as "SDXL U-Net"
   * @param architecture SHA-256 of all names and shapes
   * @param baseSha256 of the file that it was taken against; empty where it does not say
   * @param basePrediction what the teacher predicts, diffusers' key; empty where it does not say
   * @param scheduler settings to sample the result with; null where it does not say
   * @param metadata its whole header
   */
  public record Info(
      String family,
      String architecture,
      String baseSha256,
      String basePrediction,
      @Nullable ObjectNode scheduler,
      DType type,
      long parameters,
      Map<String, String> metadata) {}

  /**
   * How a delta is added.
   *
   * @param scale factor of the change
   * @param type element type written; null = that of the base
   * @param anyBase also to other weights of the same architecture than those it was taken against
   * @param skip beginnings of names whose weights stay as they are in the base, and out of it where
   *     it has none of them
   */
  @RecordBuilder
  public record Options(double scale, @Nullable DType type, boolean anyBase, List<String> skip)
      implements DeltaOptionsBuilder.With {
    /** All of it, to its own base. */
    public static final Options DEFAULTS = new Options(1, null, false, List.of());

    public Options {
      skip = List.copyOf(skip);
      if (!Double.isFinite(scale) || type != null && !type.isFloating()) {
        throw new IllegalArgumentException(
            "expected a finite scale and a floating type; got " + scale + " and " + type);
      }
    }

    boolean skips(String name) {
      return skip.stream().anyMatch(name::startsWith);
    }
  }

  // ---------------------------------------------------------------- making

  /** Writes student - base of two weight files with the same names and shapes, in float32. */
  public static void extract(Path base, Path student, Path delta) throws IOException {
    extract(base, student, delta, DType.F32, Map.of());
  }

  /**
   * The same, stored as {@code type}.
   *
   * @param about more for the header, such as {@link #sampler} and {@link Provenance#asMetadata}
   */
  public static void extract(
      Path base, Path student, Path delta, DType type, Map<String, String> about)
      throws IOException {
    try (NamedTensors from = open(base);
        NamedTensors to = open(student)) {
      fits(base, from, student, to, Options.DEFAULTS);
      Map<String, LazyTensor> difference = new LinkedHashMap<>();
      for (NamedTensors.Entry entry : to.entries().values()) {
        String name = entry.name();
        boolean added = !from.entries().containsKey(name);
        difference.put(
            name,
            new LazyTensor(
                type,
                entry.shape(),
                () -> {
                  Tensor change = to.read(name, DType.F32);
                  change = added ? change : change.sub(from.read(name, DType.F32));
                  return finite(student + " - " + base, name, change.to(type));
                }));
      }
      Map<String, String> header = new TreeMap<>(about);
      header.put("format", "pt");
      header.put("kind", "perflow-delta");
      header.put(BASE, Fingerprint.of(base));
      header.put(FAMILY, kind(from));
      header.put(ARCHITECTURE, architecture(from));
      SafetensorsWriter.write(delta, difference, UnaryOperator.identity(), header);
    }
  }

  /**
   * What to say of sampling in a delta's header.
   *
   * @param student scheduler config of the accelerated model
   * @param teacher that of the base
   */
  public static Map<String, String> sampler(JsonNode student, JsonNode teacher) {
    return Map.of(
        LoraFile.SCHEDULER,
        student.toString(),
        PREDICTION,
        teacher.path("prediction_type").asText("epsilon"));
  }

  /** Writes {@code factor} × delta, in its own element type. */
  public static void scale(Path delta, double factor, Path out) throws IOException {
    if (!Double.isFinite(factor)) {
      throw new IllegalArgumentException("expected a finite factor; got " + factor);
    }
    try (NamedTensors change = open(delta)) {
      requireDelta(delta, change);
      Map<String, LazyTensor> scaled = new LinkedHashMap<>();
      for (NamedTensors.Entry entry : change.entries().values()) {
        scaled.put(
            entry.name(),
            new LazyTensor(
                entry.dtype(),
                entry.shape(),
                () -> {
                  Tensor times = change.read(entry.name(), DType.F32).mul(factor);
                  return finite(delta.toString(), entry.name(), times.to(entry.dtype()));
                }));
      }
      Map<String, String> header = new TreeMap<>(change.metadata());
      double before = number(delta, header.getOrDefault(SCALE, "1"));
      header.put(SCALE, Double.toString(before * factor));
      SafetensorsWriter.write(out, scaled, UnaryOperator.identity(), header);
    }
  }

  /**
   * Writes the mean of deltas of one base, such as of runs that differ in their seed: worked out in
   * float32, each weight stored in the type of the first delta that has it. A delta without the
   * layer that embeds guidance counts as one where it is zero.
   *
   * @throws FormatException where they were taken against different weights, are sampled in
   *     different ways or do not fit each other, with nothing written
   */
  public static void mean(List<Path> deltas, Path out) throws IOException {
    if (deltas.size() < 2) {
      throw new IllegalArgumentException("a mean needs two deltas or more; got " + deltas);
    }
    List<NamedTensors> changes = new ArrayList<>();
    try {
      List<String> sources = new ArrayList<>();
      for (Path delta : deltas) {
        NamedTensors change = open(delta);
        changes.add(change);
        requireDelta(delta, change);
        requireLike(deltas.get(0), changes.get(0), delta, change);
        sources.add(delta.getFileName() + " " + Fingerprint.of(delta));
      }
      Map<String, LazyTensor> means = new LinkedHashMap<>();
      for (NamedTensors change : changes) {
        for (NamedTensors.Entry entry : change.entries().values()) {
          means.putIfAbsent(
              entry.name(),
              new LazyTensor(
                  entry.dtype(), entry.shape(), () -> mean(changes, entry).to(entry.dtype())));
        }
      }
      Map<String, String> header = new TreeMap<>(changes.get(0).metadata());
      header.remove(SCALE); // the first one's
      header.put("mean_of", String.join(", ", sources));
      SafetensorsWriter.write(out, means, UnaryOperator.identity(), header);
    } finally {
      for (NamedTensors change : changes) {
        change.close();
      }
    }
  }

  private static Tensor mean(List<NamedTensors> changes, NamedTensors.Entry entry)
      throws IOException {
    Tensor sum = Tensor.zeros(DType.F32, entry.shape());
    for (NamedTensors change : changes) {
      if (change.entries().containsKey(entry.name())) {
        sum = sum.add(change.read(entry.name(), DType.F32));
      }
    }
    return sum.div(changes.size());
  }

  private static void requireLike(Path one, NamedTensors a, Path two, NamedTensors b)
      throws FormatException {
    for (String key : List.of(BASE, LoraFile.SCHEDULER, PREDICTION)) {
      String here = a.metadata().getOrDefault(key, "");
      String there = b.metadata().getOrDefault(key, "");
      if (!here.equals(there)) {
        throw new FormatException(
            "%s and %s have no mean: their %s differs (%s, %s); take deltas of one teacher, made with one recipe"
                .formatted(one, two, key, here, there));
      }
    }
    if (b.entries().containsKey(GUIDANCE_LAYER)) {
      fits(one, a, two, b, Options.DEFAULTS);
    } else {
      fits(two, b, one, a, Options.DEFAULTS);
    }
  }

  // ---------------------------------------------------------------- using

  /** Writes base + delta, as {@code type}; see {@link #apply(Path, Path, Path, Options, Map)}. */
  public static void apply(Path base, Path delta, Path student, DType type, boolean anyBase)
      throws IOException {
    apply(base, delta, student, new Options(1, type, anyBase, List.of()), Map.of());
  }

  /**
   * Writes base + scale × delta: summed in float32 and rounded once.
   *
   * @param about for the header of what is written
   * @throws FormatException where family, names, shapes or the base do not fit, with nothing
   *     written
   */
  public static void apply(
      Path base, Path delta, Path out, Options options, Map<String, String> about)
      throws IOException {
    try (NamedTensors from = open(base);
        NamedTensors change = open(delta)) {
      requireDelta(delta, change);
      fits(base, from, delta, change, options);
      String wanted = change.metadata().getOrDefault(BASE, "");
      String got = Fingerprint.of(base);
      if (!options.anyBase() && !wanted.isEmpty() && !wanted.equals(got)) {
        throw new FormatException(
            "%s was taken against weights of sha256 %s, %s has %s: name those weights, or allow any base"
                .formatted(delta, wanted, base, got));
      }
      Map<String, String> header = new TreeMap<>(about);
      header.put(BASE, got);
      add(from, change, options, out, header);
    }
  }

  /** Writes student - scale × delta, which is the base but for rounding. */
  public static void unapply(
      Path student, Path delta, Path out, Options options, Map<String, String> about)
      throws IOException {
    try (NamedTensors from = open(student);
        NamedTensors change = open(delta)) {
      requireDelta(delta, change);
      fits(student, from, delta, change, options);
      var back = new Options(-options.scale(), options.type(), true, options.skip());
      add(from, change, back, out, new TreeMap<>(about));
    }
  }

  private static void add(
      NamedTensors from, NamedTensors change, Options options, Path out, Map<String, String> header)
      throws IOException {
    Map<String, LazyTensor> sum = new LinkedHashMap<>();
    NamedTensors.Entry layer = change.entries().get(GUIDANCE_LAYER);
    if (layer != null
        && !from.entries().containsKey(GUIDANCE_LAYER)
        && !options.skips(GUIDANCE_LAYER)) {
      DType type = options.type() == null ? layer.dtype() : options.type();
      sum.put(
          GUIDANCE_LAYER,
          new LazyTensor(
              type,
              layer.shape(),
              () -> {
                Tensor value = change.read(GUIDANCE_LAYER, DType.F32).mul(options.scale());
                return finite(change.toString(), GUIDANCE_LAYER, value.to(type));
              }));
    }
    for (NamedTensors.Entry entry : from.entries().values()) {
      String name = entry.name();
      DType type = options.type() == null ? entry.dtype() : options.type();
      sum.put(
          name,
          new LazyTensor(
              type,
              entry.shape(),
              () -> {
                Tensor value = from.read(name, DType.F32);
                if (!options.skips(name)) {
                  value = value.add(change.read(name, DType.F32).mul(options.scale()));
                }
                return finite(from + " and " + change, name, value.to(type));
              }));
    }
    header.put("format", "pt");
    SafetensorsWriter.write(out, sum, UnaryOperator.identity(), header);
  }

  /** What the delta says of itself. */
  public static Info info(Path delta) throws IOException {
    try (NamedTensors change = open(delta)) {
      Map<String, String> metadata = change.metadata();
      String scheduler = metadata.get(LoraFile.SCHEDULER);
      long parameters = 0;
      DType type = DType.F32;
      for (NamedTensors.Entry entry : change.entries().values()) {
        parameters += Arrays.stream(entry.shape()).reduce(1, (a, b) -> a * b);
        type = entry.dtype();
      }
      return new Info(
          kind(change),
          architecture(change),
          metadata.getOrDefault(BASE, ""),
          metadata.getOrDefault(PREDICTION, ""),
          scheduler == null ? null : object(delta, scheduler),
          type,
          parameters,
          metadata);
    }
  }

  private static double number(Path delta, String text) throws FormatException {
    try {
      return Double.parseDouble(text);
    } catch (NumberFormatException e) {
      throw new FormatException(
          "%s: %s in its header is '%s', expected a number".formatted(delta, SCALE, text), e);
    }
  }

  private static ObjectNode object(Path delta, String json) throws IOException {
    String where = delta + ": " + LoraFile.SCHEDULER + " in its header";
    return SchedulerConfig.checked(where, Json.object(where, json));
  }

  /** Norm and largest element of every weight's change, in the order of the file. */
  public static List<Layer> inspect(Path delta) throws IOException {
    List<Layer> layers = new ArrayList<>();
    try (NamedTensors change = open(delta);
        NoGrad guard = NoGrad.enter()) {
      for (NamedTensors.Entry entry : change.entries().values()) {
        try (Scope scope = Scope.open()) {
          Tensor value = change.read(entry.name(), DType.F32);
          layers.add(
              new Layer(
                  entry.name(), entry.shape(), value.norm().item(), value.abs().max().item()));
        }
      }
    }
    return layers;
  }

  // ---------------------------------------------------------------- checking

  /**
   * The U-Net of a weights file in any format, the one of a single-file checkpoint under diffusers'
   * names; the caller closes it.
   */
  static NamedTensors open(Path file) throws IOException {
    NamedTensors weights = WeightFiles.open(file);
    if (WeightsKind.of(weights).map(WeightsKind::part).orElse(null) != Part.CHECKPOINT) {
      return weights;
    }
    weights.close();
    SingleFile whole = SingleFile.open(file);
    try {
      NamedTensors unet = whole.weights("unet");
      Map<String, LazyTensor> tensors = new LinkedHashMap<>();
      unet.entries().keySet().forEach(name -> tensors.put(name, LazyTensor.of(unet, name)));
      return new TensorView(file.toString(), tensors, unet.metadata(), whole);
    } catch (IOException | RuntimeException e) {
      whole.close();
      throw e;
    }
  }

  private static Tensor finite(String source, String name, Tensor value) throws FormatException {
    if (!value.isFinite()) {
      throw new FormatException(
          "%s: %s comes out as NaN or infinite as %s; a file is damaged or comes from a training that diverged, or the type needs a wider range"
              .formatted(source, name, value.dtype()));
    }
    return value;
  }

  private static String kind(NamedTensors weights) {
    return WeightsKind.of(weights).map(WeightsKind::label).orElse("of an unknown kind");
  }

  private static String architecture(NamedTensors file) {
    return Fingerprint.of(
        new TreeMap<>(file.entries())
            .values().stream()
                .map(entry -> entry.name() + " " + Arrays.toString(entry.shape()))
                .toList());
  }

  /** Scales of norms are about 1 in a network, and their changes are small. */
  static void requireDelta(Path path, NamedTensors file) throws IOException {
    double sum = 0;
    long count = 0;
    for (NamedTensors.Entry entry : file.entries().values()) {
      if (entry.name().matches(".*norm\\w*\\.weight") && entry.shape().length == 1) {
        try (Scope scope = Scope.open()) {
          sum += file.read(entry.name(), DType.F32).abs().mean().item();
          count++;
        }
      }
    }
    if (count > 0 && sum / count > 0.1) {
      throw new FormatException(
          path
              + " is a complete network and no delta (its norms scale by about 1): put it into a"
              + " model folder as it is, or take a delta of it with delta extract");
    }
  }

  private static void fits(Path one, NamedTensors a, Path two, NamedTensors b, Options options)
      throws FormatException {
    Set<String> names = new TreeSet<>(a.entries().keySet());
    names.addAll(b.entries().keySet());
    List<String> problems = new ArrayList<>();
    for (String name : names) {
      NamedTensors.Entry here = a.entries().get(name);
      NamedTensors.Entry there = b.entries().get(name);
      boolean added = name.equals(GUIDANCE_LAYER) && here == null;
      if (options.skips(name) || added || equal(here, there)) {
        continue;
      }
      problems.add("%s is %s there and %s here".formatted(name, shape(there), shape(here)));
    }
    if (problems.isEmpty()) {
      return;
    }
    String family = kind(a);
    String other = kind(b);
    throw new FormatException(
        "%s does not fit %s: %s%s%s"
            .formatted(
                two,
                one,
                family.equals(other)
                    ? "both must be of one architecture; "
                    : "that is %s, this is %s; ".formatted(other, family),
                String.join(", ", problems.stream().limit(LISTED).toList()),
                problems.size() > LISTED
                    ? " and " + (problems.size() - LISTED) + " more differ"
                    : ""));
  }

  private static boolean equal(
      NamedTensors.@Nullable Entry here, NamedTensors.@Nullable Entry there) {
    return here != null && there != null && Arrays.equals(here.shape(), there.shape());
  }

  private static String shape(NamedTensors.@Nullable Entry entry) {
    return entry == null ? "missing" : Arrays.toString(entry.shape());
  }
}
