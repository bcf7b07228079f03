package org.perflow.delta;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.soabase.recordbuilder.core.RecordBuilder;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.Parameterization;
import org.perflow.flow.Recommended;
import org.perflow.hub.Hub;
import org.perflow.io.AtomicFiles;
import org.perflow.io.FormatException;
import org.perflow.io.Json;
import org.perflow.models.SchedulerConfig;

/**
 * The README of a published student, as the hub reads it: its front matter (YAML) has the licence,
 * the base model and tags, from which the hub makes the page's head, its search and its samples.
 *
 * <pre>{@code
 * Path card =
 *     ModelCard.of(Path.of("runs/first"))
 *         .withLicense("creativeml-openrail-m")
 *         .withBaseModel("stable-diffusion-v1-5/stable-diffusion-v1-5")
 *         .write();
 * }</pre>
 *
 * @param run folder of a run, or a student's folder
 * @param license identifier of the hub, such as {@code creativeml-openrail-m}, which must be one
 *     that the teacher's licence allows
 * @param baseModel name of the teacher on the hub; null for the one that the run says, if any
 * @param title of the page; null for the run's name
 */
@RecordBuilder
public record ModelCard(
    Path run, String license, @Nullable String baseModel, @Nullable String title)
    implements ModelCardBuilder.With {
  private static final String SAMPLES = "samples.png";

  /** Refuses what would not be one line of YAML. */
  public ModelCard {
    for (String value : new String[] {license, baseModel == null ? "" : baseModel}) {
      if (!value.matches("[\\w./+-]*")) {
        throw new IllegalArgumentException(
            "'%s' is no identifier of the hub: letters, digits, '.', '-', '_', '+' and '/'"
                .formatted(value));
      }
    }
  }

  /** Of a run; under the licence "other", which says that there is one to be read. */
  public static ModelCard of(Path run) {
    return new ModelCard(run, "other", null, null);
  }

  /**
   * Writes {@code README.md} into the student's folder, and beside it the run's samples where it
   * has some.
   *
   * @return the README
   * @throws FormatException where the folder is no student's
   */
  public Path write() throws IOException {
    Path student = student();
    Path samples = run.resolve(SAMPLES);
    if (Files.exists(samples)) {
      Files.copy(samples, student.resolve(SAMPLES), StandardCopyOption.REPLACE_EXISTING);
    }
    Path card = student.resolve("README.md");
    byte[] text = text(student).getBytes(StandardCharsets.UTF_8);
    AtomicFiles.write(card, out -> out.write(text));
    return card;
  }

  private Path student() throws FormatException {
    for (Path folder : List.of(run.resolve("student"), run)) {
      if (Files.exists(folder.resolve("scheduler/scheduler_config.json"))) {
        return folder;
      }
    }
    throw new FormatException(
        run
            + " is no run that has ended and no student: it has neither student/ nor"
            + " scheduler/scheduler_config.json");
  }

  private String text(Path student) throws IOException {
    ObjectNode scheduler = Json.readObject(student.resolve("scheduler/scheduler_config.json"));
    Path made = student.resolve("provenance.json");
    JsonNode provenance = Files.exists(made) ? Json.read(made) : Json.MAPPER.createObjectNode();
    JsonNode config = provenance.path("config");
    String method = config.path("method").asText("perflow");
    Optional<String> base = base(config.at("/inputs/teacher").asText());
    boolean lora = config.at("/lora/loraRank").asInt() > 0;
    boolean samples = Files.exists(student.resolve(SAMPLES));
    String name = title != null ? title : String.valueOf(run.toAbsolutePath().getFileName());
    return head(base, method, lora, samples)
        + "# %s%n%n".formatted(name)
        + about(base, method, Recommended.of(scheduler), samples)
        + inDiffusers(scheduler, Recommended.of(scheduler))
        + figures()
        + how(provenance, config);
  }

  /** The teacher's name on the hub: as told, or as its place in the cache says. */
  private Optional<String> base(String teacher) {
    if (baseModel != null) {
      return Optional.of(baseModel);
    }
    String name = teacher.isEmpty() ? "" : Hub.nameOf(Path.of(teacher));
    return name.matches("[^@]+/[^@]+@[0-9a-f]+")
        ? Optional.of(name.substring(0, name.indexOf('@')))
        : Optional.empty();
  }

  private String head(Optional<String> base, String method, boolean lora, boolean samples) {
    List<String> lines = new ArrayList<>(List.of("---", "license: " + license));
    if (base.isPresent()) {
      lines.add("base_model: " + base.get());
      lines.add("base_model_relation: " + (lora ? "adapter" : "finetune"));
    }
    lines.addAll(List.of("library_name: diffusers", "pipeline_tag: text-to-image", "tags:"));
    for (String tag :
        List.of("text-to-image", "diffusers", "stable-diffusion", "few-step", "distillation")) {
      lines.add("- " + tag);
    }
    lines.add("- " + method);
    if (samples) {
      lines.addAll(List.of("widget:", "- text: samples", "  output:", "    url: " + SAMPLES));
    }
    lines.addAll(List.of("---", "", ""));
    return String.join("\n", lines);
  }

  private static String about(
      Optional<String> base, String method, Recommended drawn, boolean samples) {
    String teacher =
        base.map(name -> "[" + name + "](https://huggingface.co/" + name + ")")
            .orElse("its teacher");
    String way =
        String.format(Locale.ROOT, "--steps %d --guidance %s", drawn.steps(), drawn.guidance());
    return """
Draws in %d steps what %s draws in many. Made by `perflow accelerate` (method %s).

%s```
perflow generate --model . --prompt "..." %s --out picture.png
```

`delta.safetensors` is this model less its teacher: `perflow delta apply` adds it to other fine-tunes.

"""
        .formatted(
            drawn.steps(),
            teacher,
            method,
            samples
                ? "![its pictures, below them the teacher's in 50 steps](" + SAMPLES + ")\n\n"
                : "",
            way);
  }

  /** Diffusers has samplers for all students but those of PeRFlow that predict otherwise than ε. */
  private static String inDiffusers(JsonNode scheduler, Recommended drawn) {
    String load = "pipe = DiffusionPipeline.from_pretrained(\"path/or/name\")\n";
    String imports = "DiffusionPipeline";
    if (SchedulerConfig.isPerflow(scheduler)) {
      String prediction = scheduler.path("prediction_type").asText();
      if (!prediction.equals(Parameterization.DDIM_EPS.key())) {
        return """
With diffusers the folder loads as it is, but diffusers has no scheduler for what this network predicts
(`%s`): give the pipeline PeRFlow's own, `PeRFlowScheduler` of [its authors](https://github.com/magic-research/piecewise-rectified-flow).

"""
            .formatted(prediction);
      }
      imports = "DDIMScheduler, DiffusionPipeline";
      load +=
          """
pipe.scheduler = DDIMScheduler.from_config(
    pipe.scheduler.config, prediction_type="epsilon", timestep_spacing="trailing", clip_sample=False)
""";
    }
    int steps =
        SchedulerConfig.isPerflow(scheduler) ? SchedulerConfig.windows(scheduler) : drawn.steps();
    return String.format(
        Locale.ROOT,
        "With diffusers:%n%n```python%nfrom diffusers import %s%n%n%spicture = pipe(\"...\","
            + " num_inference_steps=%d, guidance_scale=%s).images[0]%n```%n%n",
        imports,
        load,
        steps,
        drawn.guidance());
  }

  private String figures() throws IOException {
    Path file = run.resolve("evaluation.json");
    if (!Files.exists(file)) {
      return "";
    }
    StringBuilder table =
        new StringBuilder(
            """
## Against the teacher's samplers at the same cost

Error of the pictures (root mean square, pixels in 0..1) to the teacher's in 50 steps of DDIM from the same noise.

| | steps | evaluations of the network | error |
|---|---|---|---|
""");
    for (JsonNode row : Json.read(file)) {
      table.append(
          String.format(
              Locale.ROOT,
              "| %s | %d | %d | %.4f |%n",
              row.path("label").asText(),
              row.path("steps").asInt(),
              row.path("networkEvaluations").asInt(),
              row.path("error").asDouble()));
    }
    return table.append('\n').toString();
  }

  private static String how(JsonNode provenance, JsonNode config) throws IOException {
    return """
           ## How it was made

           %s, %s. Weights of the teacher: sha256 `%s`.

           ```json
           %s
           ```
           """
        .formatted(
            provenance.path("made").asText("at an unknown time"),
            "perflow " + provenance.path("perflow").asText(""),
            provenance.at("/base/sha256").asText("unknown"),
            Json.MAPPER.writerWithDefaultPrettyPrinter().writeValueAsString(without(config)));
  }

  /** Settings, without the names of folders, which are nobody else's business. */
  private static JsonNode without(JsonNode config) {
    JsonNode copy = config.deepCopy();
    if (copy instanceof ObjectNode settings) {
      settings.remove("inputs");
    }
    return copy;
  }
}
