package org.perflow.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Objects;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.Guidance;
import org.perflow.io.FormatException;

/**
 * What {@code perflow compare} is to do, read from YAML. Immutable, valid once made; a key that is
 * not known is an error.
 *
 * @param teacher diffusers folder; null for the one that comes with perflow
 * @param data folders with train*.tar and test*.tar; null for the emoji that come with perflow
 * @param pictures drawn by each entry at each number of steps
 * @param referenceSteps DDIM steps of the teacher that all are measured against
 * @param guidance of the teacher, and of every entry that does not say its own
 * @param steps numbers of steps to draw with, where an entry does not say its own
 * @param seed of the first picture
 * @param batch pictures drawn at a time
 * @param dtype to draw with
 * @param train training settings of all methods, the budget among them: steps or minutes
 * @param entries what is compared, in the order of the plan within equal costs
 * @param transfer the plug-and-play test; null for none
 */
record ComparePlan(
    @Nullable String teacher,
    @Nullable List<String> data,
    int pictures,
    int referenceSteps,
    double guidance,
    List<Integer> steps,
    long seed,
    int batch,
    String dtype,
    @Nullable ObjectNode train,
    List<Entry> entries,
    @Nullable Transfer transfer) {
  private static final YAMLMapper MAPPER =
      YAMLMapper.builder()
          .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
          .enable(DeserializationFeature.FAIL_ON_UNKNOWN_PROPERTIES)
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
   * @param lora as in accelerate's config
   * @param guidance null for what the student was trained for, else the plan's
   * @param steps null for the plan's
   */
  record Entry(
      String name,
      @Nullable String sampler,
      @Nullable String model,
      @Nullable String method,
      @Nullable ObjectNode options,
      @Nullable ObjectNode train,
      @Nullable ObjectNode lora,
      @Nullable Double guidance,
      @Nullable List<Integer> steps) {
    Entry {
      Objects.requireNonNull(name, "an entry has no name");
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
    }

    /** Its folder's name. */
    String slug() {
      return name.toLowerCase(java.util.Locale.ROOT)
          .replaceAll("[^a-z0-9]+", "-")
          .replaceAll("^-|-$", "");
    }
  }

  /**
   * The plug-and-play test: what the students learned is added to another fine-tune of the teacher.
   *
   * @param model diffusers folder of the fine-tune; null to train one
   * @param data folders with test*.tar whose captions are drawn, and train-*.tar to fine-tune the
   *     teacher's U-Net on; null, with a model, for the plan's
   * @param train settings of the fine-tuning
   * @param pictures drawn by each entry at each number of steps; 0 for the plan's
   */
  record Transfer(
      @Nullable String model,
      @Nullable List<String> data,
      @Nullable ObjectNode train,
      int pictures) {
    Transfer {
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
      if (pictures < 0) {
        throw new IllegalArgumentException(
            "transfer: pictures must be 0 (as many as the plan's) or more; got " + pictures);
      }
      data = data == null ? null : List.copyOf(data);
    }
  }

  ComparePlan {
    if (entries == null || entries.isEmpty()) {
      throw new IllegalArgumentException("entries: there is nothing to compare");
    }
    entries = List.copyOf(entries);
    pictures = pictures == 0 ? 256 : pictures;
    referenceSteps = referenceSteps == 0 ? 50 : referenceSteps;
    guidance = guidance == 0 ? Guidance.DEFAULT : guidance;
    steps = steps == null ? List.of(1, 2, 4, 8) : List.copyOf(steps);
    seed = seed == 0 ? 1_000_000 : seed;
    batch = batch == 0 ? 32 : batch;
    dtype = dtype == null ? "float32" : dtype;
    Set<String> names = new HashSet<>();
    for (Entry entry : entries) {
      if (!names.add(entry.slug())) {
        throw new IllegalArgumentException(
            "two entries would be written to the folder '" + entry.slug() + "': rename one");
      }
    }
  }

  /**
   * Reads one.
   *
   * @throws FormatException naming the file, and the key or value that does not fit
   */
  static ComparePlan read(Path file) throws IOException {
    try {
      return MAPPER.readValue(Files.readAllBytes(file), ComparePlan.class);
    } catch (JsonProcessingException e) {
      boolean refused = e.getCause() instanceof RuntimeException;
      String why =
          refused ? e.getCause().getMessage() : e.getMessage().lines().findFirst().orElse("");
      throw new FormatException(file + ": " + why, e);
    }
  }
}
