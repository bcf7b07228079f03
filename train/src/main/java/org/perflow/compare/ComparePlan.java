package org.perflow.compare;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import io.soabase.recordbuilder.core.RecordBuilder;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.perflow.evaluate.EvaluatorOptions;
import org.perflow.evaluate.SampledModel;
import org.perflow.flow.Guidance;
import org.perflow.hub.Hub;
import org.perflow.io.FormatException;
import org.perflow.io.Installation;
import org.perflow.io.Json;
import org.perflow.models.DiffusionModel;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.Compute;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.train.TrainOptions;

/**
 * What a {@link Comparison} is to do, read from YAML or built in Java. Immutable, valid once made;
 * a key that is not known is an error, and one that is left out has its default.
 *
 * @param teacher diffusers folder; null for the one that comes with perflow
 * @param data folders with train-*.tar and test*.tar; null for the emoji that come with perflow
 * @param pictures drawn by each entry at each number of steps, 6 or more
 * @param referenceSteps DDIM steps of the teacher that all are measured against
 * @param guidance of the teacher, and of every entry that does not say its own
 * @param steps numbers of steps to draw with, where an entry does not say its own
 * @param seed of the first picture; the others count on from it
 * @param batch pictures drawn at a time
 * @param dtype to draw with: auto, float32 or bfloat16
 * @param device to train, draw and compare pictures on
 * @param train training settings of all methods, the budget among them: steps or minutes
 * @param entries what is compared, in the order of the plan within equal costs
 * @param transfer the plug-and-play test; null for none
 */
@RecordBuilder
public record ComparePlan(
    @Nullable String teacher,
    @Nullable List<String> data,
    int pictures,
    int referenceSteps,
    double guidance,
    List<Integer> steps,
    long seed,
    int batch,
    String dtype,
    String device,
    @Nullable ObjectNode train,
    List<Entry> entries,
    @Nullable TransferPlan transfer)
    implements ComparePlanBuilder.With {
  private static final YAMLMapper MAPPER =
      YAMLMapper.builder()
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .enable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
          .enable(DeserializationFeature.FAIL_ON_NULL_FOR_PRIMITIVES)
          .disable(DeserializationFeature.ACCEPT_FLOAT_AS_INT)
          .build();

  /**
   * A line of the table: the teacher under a sampler, a model that is there, or a method to train.
   *
   * @param name in tables and, in lower case with dashes, of its folder
   * @param sampler of the teacher, or of the model; null for the model's own
   * @param model diffusers folder
   * @param method of {@code accelerate}
   * @param options of the method
   * @param train what differs from the plan's
   * @param lora as in accelerate's config; what is left out is the method's own
   * @param guidance null for what the student was trained for, else the plan's
   * @param steps null for the plan's
   */
  public record Entry(
      String name,
      @Nullable String sampler,
      @Nullable String model,
      @Nullable String method,
      @Nullable ObjectNode options,
      @Nullable ObjectNode train,
      @Nullable ObjectNode lora,
      @Nullable Double guidance,
      @Nullable List<Integer> steps) {
    public Entry {
      if (name == null || slug(name).isEmpty()) {
        throw new IllegalArgumentException(
            "an entry has no name with a letter or digit, which its folder is called by; got "
                + name);
      }
      if (method != null && (model != null || sampler != null)
          || method == null && model == null && sampler == null) {
        throw new IllegalArgumentException(
            "'"
                + name
                + "' needs either a method to train, or a model, or a sampler (of that model, else"
                + " of the teacher)");
      }
      if (method == null && (options != null || train != null || lora != null)) {
        throw new IllegalArgumentException(
            "'" + name + "' trains nothing; options, train and lora go with a method");
      }
      if (guidance != null) {
        check("'" + name + "'", () -> Guidance.of(guidance));
      }
      if (steps != null) {
        steps = EvaluatorOptions.checkSteps("'" + name + "': steps", steps);
      }
    }

    /** The teacher under a sampler. */
    public static Entry ofSampler(String name, String sampler) {
      return new Entry(name, sampler, null, null, null, null, null, null, null);
    }

    /** A model that is there, drawn with as its folder says. */
    public static Entry ofModel(String name, Path folder) {
      return new Entry(name, null, folder.toString(), null, null, null, null, null, null);
    }

    /** A method to train, with the settings that suit the teacher but for {@code options}. */
    public static Entry ofMethod(String name, String method, @Nullable ObjectNode options) {
      return new Entry(name, null, null, method, options, null, null, null, null);
    }

    /** The same drawn with in these numbers of steps. */
    public Entry withSteps(Integer... counts) {
      return new Entry(
          name, sampler, model, method, options, train, lora, guidance, List.of(counts));
    }

    /** Its folder's name. */
    public String slug() {
      return slug(name);
    }

    private static String slug(String name) {
      return name.toLowerCase(Locale.ROOT).replaceAll("[^a-z0-9]+", "-").replaceAll("^-|-$", "");
    }
  }

  /**
   * The plug-and-play test: what the students learned is added to another fine-tune of the teacher.
   *
   * @param model diffusers folder of the fine-tune; null to train one
   * @param data folders with test*.tar whose captions are drawn, and train-*.tar to fine-tune the
   *     teacher's U-Net on; null, with a model, for the plan's
   * @param train settings of the fine-tuning
   * @param pictures drawn by each entry at each number of steps, 6 or more; null for the plan's
   */
  public record TransferPlan(
      @Nullable String model,
      @Nullable List<String> data,
      @Nullable ObjectNode train,
      @Nullable Integer pictures) {
    public TransferPlan {
      if (model == null && data == null) {
        throw new IllegalArgumentException(
            "transfer needs model: FOLDER, a fine-tune of the teacher, or data: [FOLDER] to"
                + " fine-tune it on");
      }
      if (model != null && train != null) {
        throw new IllegalArgumentException(
            "transfer has the model "
                + model
                + " and settings to train one: leave one of them out");
      }
      if (pictures != null) {
        check("transfer", () -> EvaluatorOptions.checkPictures(pictures));
      }
      data = data == null ? null : List.copyOf(data);
    }
  }

  public ComparePlan {
    if (entries == null || entries.isEmpty()) {
      throw new IllegalArgumentException("entries: there is nothing to compare");
    }
    entries = List.copyOf(entries);
    data = data == null ? null : List.copyOf(data);
    EvaluatorOptions.checkPictures(pictures);
    if (referenceSteps < 1 || batch < 1) {
      throw new IllegalArgumentException(
          "referenceSteps and batch must be 1 or more; got " + referenceSteps + " and " + batch);
    }
    Guidance.of(guidance);
    steps = EvaluatorOptions.checkSteps("steps", steps);
    Compute.parse(dtype);
    Device.parse(device);
    Set<String> names = new HashSet<>();
    for (Entry entry : entries) {
      if (!names.add(entry.slug())) {
        throw new IllegalArgumentException(
            "two entries would be written to the folder '" + entry.slug() + "': rename one");
      }
    }
  }

  /** Says whose setting it is that {@code check} refuses. */
  private static void check(String whose, Runnable check) {
    try {
      check.run();
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(whose + ": " + e.getMessage(), e);
    }
  }

  /** These entries on what comes with perflow, everything else by default. */
  public static ComparePlan of(Entry... entries) {
    return new ComparePlan(
        null,
        null,
        256,
        50,
        Guidance.DEFAULT,
        List.of(1, 2, 4, 8),
        1_000_000,
        32,
        "float32",
        "auto",
        null,
        List.of(entries),
        null);
  }

  /**
   * Reads one.
   *
   * @throws FormatException naming the file, and the key or value that does not fit
   */
  public static ComparePlan read(Path file) throws IOException {
    ObjectNode plan = MAPPER.valueToTree(of(Entry.ofSampler("none yet", "ddim")));
    plan.remove("entries");
    try {
      if (!(MAPPER.readTree(Files.readAllBytes(file)) instanceof ObjectNode written)) {
        throw new FormatException(file + ": expected a plan with keys such as \"entries\"");
      }
      plan.setAll(written);
      return MAPPER.treeToValue(plan, ComparePlan.class);
    } catch (JsonProcessingException e) {
      throw new FormatException(file + ": " + Json.explain(e), e);
    }
  }

  /**
   * The teacher's folder: as given where there is one, else as it came with the program, else from
   * the hub.
   */
  public Path teacherFolder() throws IOException {
    return teacher == null ? Installation.teacher() : model(teacher);
  }

  /** The same of any model that a plan names. */
  static Path model(String named) throws IOException {
    Path found = Installation.find(named);
    return Files.exists(found) ? found : Hub.fetch(named);
  }

  /** To draw with. */
  DType type() {
    return Compute.parse(dtype).dtype(Device.parse(device));
  }

  /** A model that takes part, kept as {@link Compute#weights} says. */
  DiffusionModel load(Path folder) throws IOException {
    Device there = Device.parse(device);
    return DiffusionModel.load(folder, Compute.parse(dtype).weights(there), there);
  }

  /** What trainings begin with: {@link TrainOptions#DEFAULTS} there. */
  TrainOptions training() {
    return TrainOptions.DEFAULTS.withDevice(Device.parse(device));
  }

  /** The folders of shards, likewise. */
  public List<Path> dataFolders() {
    return data == null
        ? List.of(Installation.data())
        : data.stream().map(Installation::find).toList();
  }

  /** An entry's model at each of its numbers of steps. */
  List<SampledModel> sampled(Entry entry, DiffusionModel model) {
    String sampler = Objects.requireNonNullElse(entry.sampler(), SampledModel.OWN);
    double own = model.schedulerConfig().path(SchedulerConfig.GUIDANCE).asDouble(guidance);
    double scale = Objects.requireNonNullElse(entry.guidance(), own);
    return Objects.requireNonNullElse(entry.steps(), steps).stream()
        .map(count -> new SampledModel(entry.name(), model, sampler, count, scale))
        .toList();
  }
}
