package org.perflow.compare;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.stream.Stream;
import org.perflow.delta.Delta;
import org.perflow.delta.DeltaFolder;
import org.perflow.delta.Provenance;
import org.perflow.evaluate.Case;
import org.perflow.evaluate.Evaluated;
import org.perflow.evaluate.Evaluation;
import org.perflow.evaluate.FeatureNetwork;
import org.perflow.evaluate.SampledModel;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PredictionType;
import org.perflow.io.FormatException;
import org.perflow.io.Installation;
import org.perflow.io.Json;
import org.perflow.io.Overrides;
import org.perflow.io.Sample;
import org.perflow.io.ShardReader;
import org.perflow.io.Shards;
import org.perflow.models.DiffusionModel;
import org.perflow.pretrain.PretrainObjective;
import org.perflow.report.EvaluationReport;
import org.perflow.tensor.DType;
import org.perflow.train.Captions;
import org.perflow.train.Catalogue;
import org.perflow.train.LatentCache;
import org.perflow.train.RunConfig;
import org.perflow.train.TrainListener;
import org.perflow.train.TrainOptions;
import org.perflow.train.TrainingRun;

/**
 * The plug-and-play test of a {@link Comparison}: what a student learned, student − teacher (of one
 * trained as a LoRA the product of its factors), is added to another fine-tune of the teacher and
 * measured against that fine-tune's own pictures.
 *
 * @param plan with a transfer
 * @param settings that transfer
 * @param teacher diffusers folder
 * @param shards to fine-tune on; none where the plan names a fine-tune
 * @param captions shards whose captions are drawn
 * @param train settings of the fine-tuning
 * @param out folder of the fine-tune, and of a folder a student
 */
record Transfer(
    ComparePlan plan,
    ComparePlan.TransferPlan settings,
    Path teacher,
    List<Path> shards,
    List<Path> captions,
    TrainOptions train,
    Path out) {

  /** Checks settings and data, before anything is trained. */
  static Transfer of(ComparePlan plan, Path out) throws IOException {
    ComparePlan.TransferPlan settings = Objects.requireNonNull(plan.transfer());
    List<Path> own =
        settings.data() == null
            ? plan.dataFolders()
            : settings.data().stream().map(Installation::find).toList();
    try {
      return new Transfer(
          plan,
          settings,
          plan.teacherFolder(),
          settings.model() == null ? Shards.train(own) : List.of(),
          Shards.test(own),
          RunConfig.settled(
              settings.train() == null
                  ? plan.training()
                  : Overrides.apply(plan.training(), settings.train()),
              out),
          out);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException("transfer: " + e.getMessage(), e);
    }
  }

  /** How a report names the fine-tune. */
  String name() {
    return settings.model() == null
        ? "the teacher's U-Net on " + String.join(", ", names(shards)) + ", " + train
        : settings.model();
  }

  private static List<String> names(List<Path> files) {
    return files.stream().map(Installation::name).toList();
  }

  // ---------------------------------------------------------------- fine-tuning

  /** The fine-tune's folder: as given, trained by an earlier run, or trained now. */
  Path fineTune(TrainListener... listeners) throws IOException {
    if (settings.model() != null) {
      return ComparePlan.model(settings.model());
    }
    ObjectNode inputs = Json.MAPPER.createObjectNode().put("teacher", Installation.name(teacher));
    inputs.set("data", Json.MAPPER.valueToTree(names(shards)));
    RunConfig config = RunConfig.of(train).with("inputs", inputs);
    Training.refuseOtherSettings(out, config);
    Path target = out.resolve("model");
    if (!Files.exists(target)) {
      trainInto(target, config, List.of(listeners));
    }
    return target;
  }

  private void trainInto(Path target, RunConfig config, List<TrainListener> listeners)
      throws IOException {
    Provenance provenance = Provenance.of(DeltaFolder.weights(teacher), shards, config.json());
    Catalogue data = Catalogue.of(shards);
    Path cache = out.resolve("cache/latents.safetensors");
    try (DiffusionModel model = DiffusionModel.load(teacher, DType.F32, train.device())) {
      requireKnown(model);
      try (LatentCache latents = LatentCache.of(model.vae(), data, cache);
          Captions texts = Captions.of(model.tokenizer(), data.samples());
          PretrainObjective objective =
              new PretrainObjective(
                      latents,
                      texts,
                      model.unet(),
                      model.textEncoder(),
                      NoiseSchedule.of(model.schedulerConfig()),
                      train.computeType())
                  .keepingText()) {
        boolean resume = Files.isDirectory(out.resolve("checkpoints"));
        new TrainingRun("fine-tune", config, out, resume, listeners)
            .run(
                objective,
                null,
                () -> {
                  model.save(target, DType.F16, provenance.asMetadata());
                  provenance.write(target);
                });
      }
    }
  }

  private void requireKnown(DiffusionModel model) {
    String predicts = model.schedulerConfig().path("prediction_type").asText("epsilon");
    if (model.second() != null || PredictionType.parse(predicts) != PredictionType.EPSILON) {
      throw new IllegalArgumentException(
          "transfer: fine-tuning is for teachers with one text encoder that predict epsilon; %s %s:"
                  .formatted(teacher, model.second() != null ? "has two" : "predicts " + predicts)
              + " name a fine-tune of it as model");
    }
  }

  // ---------------------------------------------------------------- measuring

  /**
   * Adds what each student learned to the fine-tune and measures it at the entry's steps, beside
   * the fine-tune's own DDIM with as many network evaluations.
   *
   * @param base folder of the fine-tune
   * @param students folders of the students, by entry
   */
  Transferred measure(
      Path base,
      Map<ComparePlan.Entry, Path> students,
      FeatureNetwork features,
      Evaluation.Options options,
      Consumer<String> progress)
      throws IOException {
    Map<String, String> refused = new LinkedHashMap<>();
    List<DiffusionModel> sums = new ArrayList<>();
    List<SampledModel> systems = new ArrayList<>();
    try (DiffusionModel tuned = plan.load(base)) {
      for (var student : students.entrySet()) {
        ComparePlan.Entry entry = student.getKey();
        Path sum = out.resolve(entry.slug());
        Optional<String> refusal = add(base, entry, student.getValue(), sum);
        if (refusal.isPresent()) {
          refused.put(entry.name(), refusal.get());
        } else {
          sums.add(plan.load(sum));
          systems.addAll(plan.sampled(entry, sums.get(sums.size() - 1)));
        }
      }
      int pictures = Objects.requireNonNullElse(settings.pictures(), plan.pictures());
      Evaluated evaluated =
          Evaluated.of(
              ddim(tuned, plan.referenceSteps()),
              Stream.concat(atEqualCost(tuned, systems).stream(), systems.stream()).toList(),
              Case.of(heldOut(), pictures, plan.seed()),
              new Evaluation.Measures(features, null, null, 100),
              null,
              options,
              done -> progress.accept("transfer: " + done));
      EvaluationReport report =
          new EvaluationReport("Transfer", evaluated.about(summary(pictures), Map.of()));
      report.writeFigures(out);
      return new Transferred(report, refused);
    } finally {
      sums.forEach(DiffusionModel::close);
    }
  }

  private List<String> heldOut() throws IOException {
    return ShardReader.readAll(captions).stream().map(Sample::caption).toList();
  }

  private String summary(int pictures) {
    return ("The change that made the student of the teacher, added to another fine-tune; %,d"
            + " pictures each against %d DDIM steps of the fine-tune itself.")
        .formatted(pictures, plan.referenceSteps());
  }

  /** Writes fine-tune + student − teacher; the reason where they do not fit together. */
  private Optional<String> add(Path base, ComparePlan.Entry entry, Path student, Path sum)
      throws IOException {
    try {
      Path delta = student.resolve("delta.safetensors"); // a trained student's, in float32
      if (entry.model() != null) {
        delta = out.resolve("deltas").resolve(entry.slug() + ".safetensors");
        Files.createDirectories(delta.getParent());
        String scheduler = "scheduler/scheduler_config.json";
        Map<String, String> about =
            Delta.sampler(
                Json.read(student.resolve(scheduler)), Json.read(teacher.resolve(scheduler)));
        Delta.extract(
            DeltaFolder.weights(teacher), DeltaFolder.weights(student), delta, DType.F32, about);
      }
      Delta.Options anyBase = new Delta.Options(1, null, true, List.of());
      DeltaFolder.apply(base, delta, sum, DeltaFolder.Sampler.OF_DELTA, anyBase, Map.of());
      return Optional.empty();
    } catch (FormatException | IllegalArgumentException e) {
      return Optional.of(String.valueOf(e.getMessage()));
    }
  }

  private SampledModel ddim(DiffusionModel tuned, int steps) {
    return new SampledModel("Fine-tune, DDIM", tuned, "ddim", steps, plan.guidance());
  }

  /** The fine-tune's own DDIM at every cost that another has, as far as guidance allows. */
  private List<SampledModel> atEqualCost(DiffusionModel tuned, List<SampledModel> others) {
    int aStep = ddim(tuned, 1).networkEvaluations();
    return others.stream()
        .map(SampledModel::networkEvaluations)
        .filter(evaluations -> evaluations % aStep == 0)
        .map(evaluations -> evaluations / aStep)
        .filter(steps -> steps != plan.referenceSteps())
        .distinct()
        .sorted()
        .map(steps -> ddim(tuned, steps))
        .toList();
  }
}
