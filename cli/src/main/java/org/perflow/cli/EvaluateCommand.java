package org.perflow.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.perflow.cli.options.ComputeOption;
import org.perflow.cli.options.RecordOptions;
import org.perflow.evaluate.Evaluated;
import org.perflow.evaluate.Evaluator;
import org.perflow.evaluate.EvaluatorOptions;
import org.perflow.evaluate.EvaluatorOptionsBuilder;
import org.perflow.flow.Guidance;
import org.perflow.io.Installation;
import org.perflow.report.EvaluationReport;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code perflow evaluate}. */
@Command(
    name = "evaluate",
    description =
        "Measures how close a student in few steps comes to its teacher in many, and what the"
            + " teacher's own DDIM does in few: same captions (held out from training), same noise."
            + " Or any models with --model, or any pictures with --pictures-folder. OUT gets"
            + " report.html, its tables as report.md, grid.png, plots and measurements.json.",
    footer = {
      "",
      "Examples:",
      "  perflow evaluate --out runs/evaluation",
      "  perflow evaluate --pictures 64 --teacher-steps 50,8 --student-steps 4 --out quick",
      "  perflow evaluate --student runs/first/student --out runs/first/evaluation --json",
      "  perflow evaluate --model some-model --model its-student --data shards --out compared",
      "  perflow evaluate --pictures-folder drawn --reference-folder real \\",
      "    --features inception-2015-12-05.pt --out fid"
    })
final class EvaluateCommand extends Verb {
  @Option(
      names = "--teacher",
      paramLabel = "MODEL",
      description =
          "Diffusers folder, or its name on the hub (default: the one that comes with perflow).")
  @Nullable String teacher;

  @Option(
      names = "--student",
      paramLabel = "MODEL",
      description =
          "Diffusers folder of a PeRFlow model, or its name on the hub (default: the one that comes"
              + " with perflow).")
  @Nullable String student;

  @Option(
      names = "--model",
      paramLabel = "MODEL",
      description =
          "Any diffusers folder, or its name on the hub, with or without PeRFlow's scheduler, instead of teacher and student"
              + " that come with perflow, drawn with by its own sampler; may be repeated. The first"
              + " model named is the reference. Students draw in --student-steps, others in"
              + " --teacher-steps.")
  @Nullable List<String> models;

  @Option(
      names = "--sampler",
      paramLabel = "NAME",
      description =
          "Sampler of every --model, such as ddim (default: each folder's own, which the tables"
              + " name).")
  @Nullable String sampler;

  @Option(
      names = "--pictures-folder",
      paramLabel = "DIR",
      description =
          "Pictures that are there already (PNG, JPEG, WebP or shards), all of one size, to compare"
              + " with those of --reference-folder; may be repeated. Nothing is drawn.")
  @Nullable List<Path> pictureFolders;

  @Option(
      names = "--reference-folder",
      paramLabel = "DIR",
      description =
          "Pictures that sets are compared with (FD, KD, precision, recall), rather than what the"
              + " reference model draws.")
  @Nullable Path referenceFolder;

  @Option(
      names = "--features",
      paramLabel = "PATH",
      description =
          "What pictures are compared by: a feature network's folder (default:"
              + " models/emoji-features), or a TorchScript file of your own, fed as clean-fid feeds"
              + " Inception: with inception-2015-12-05.pt FD is the standard FID. Either may be named as"
              + " on the hub.")
  @Nullable String features;

  @Option(
      names = "--data",
      split = ",",
      paramLabel = "PATH",
      description =
          "Shards with the captions, folders with test.tar, or folders of pictures with captions,"
              + " which are imported to ~/.cache/perflow (default: data/emoji-64). Their pictures teach"
              + " what measures text agreement.")
  @Nullable List<Path> data;

  @Option(
      names = "--pictures",
      defaultValue = "1000",
      paramLabel = "N",
      description = "Pictures of each system (default: ${DEFAULT-VALUE}).")
  int pictures;

  @Option(
      names = "--teacher-steps",
      split = ",",
      defaultValue = "50,8,4",
      paramLabel = "N",
      description = "DDIM steps of the teacher, the reference first (default: ${DEFAULT-VALUE}).")
  List<Integer> teacherSteps;

  @Option(
      names = "--student-steps",
      split = ",",
      defaultValue = "4,8",
      paramLabel = "N",
      description = "Steps of the student (default: ${DEFAULT-VALUE}).")
  List<Integer> studentSteps;

  @Option(
      names = "--guidance",
      paramLabel = "W",
      description =
          "Guidance of the teacher (default: what its student was taught, else "
              + Guidance.DEFAULT
              + ").")
  @Nullable Double guidance;

  @Option(
      names = "--student-guidance",
      paramLabel = "W",
      description =
          "Guidance of the student (default: what it was trained for, else "
              + Guidance.DEFAULT
              + ").")
  @Nullable Double studentGuidance;

  @Option(
      names = "--seed",
      defaultValue = "1000000",
      paramLabel = "N",
      description = "Seed of the first picture (default: ${DEFAULT-VALUE}).")
  long seed;

  @Option(
      names = "--batch",
      defaultValue = "32",
      paramLabel = "N",
      description = "Pictures drawn at a time (default: ${DEFAULT-VALUE}).")
  int batch;

  @Option(
      names = "--straight-pictures",
      defaultValue = "8",
      paramLabel = "N",
      description =
          "Trajectories of each system that straightness is measured on, in 100 steps (default:"
              + " ${DEFAULT-VALUE}).")
  int straightPictures;

  @Mixin ComputeOption compute;

  @Option(
      names = "--resamples",
      paramLabel = "N",
      description =
          "Bootstrap resamples of the distances between sets, each as costly as a distance (default:"
              + " 100; 20 with TorchScript features).")
  @Nullable Integer resamples;

  @Option(
      names = "--no-text-agreement",
      description = "Leave out how often a picture's caption is found among others.")
  boolean noTextAgreement;

  @Option(
      names = "--cache",
      paramLabel = "DIR",
      description =
          "Where what the reference drew and the features of folders are kept for the next time"
              + " (default: perflow/evaluate in the user's cache folder).")
  @Nullable Path cache;

  @Option(names = "--out", required = true, paramLabel = "DIR", description = "Folder to write to.")
  Path out;

  @Override
  void run() throws Exception {
    Evaluator evaluator =
        Evaluator.on(fetch(features, Installation.features()))
            .data(ImportProgress.shards(first(), data, err()))
            .options(options())
            .cache(cache == null ? Installation.cache().resolve("evaluate") : cache);
    if (referenceFolder != null) {
      evaluator = evaluator.reference(referenceFolder);
    }
    if (pictureFolders != null) {
      refuseModels();
      write("Pictures against pictures", evaluator.pictures(pictureFolders, this::tell));
    } else {
      String title = models == null ? "PeRFlow student against its teacher" : "Models compared";
      write(title, withModels(evaluator).run(this::tell));
    }
  }

  /** The model whose size imported pictures get. */
  private Path first() throws IOException {
    if (data == null || pictureFolders != null) {
      return Installation.teacher();
    }
    String named = models == null || models.isEmpty() ? teacher : models.get(0);
    return fetch(named, Installation.teacher());
  }

  private EvaluatorOptions options() {
    try {
      return asGiven();
    } catch (IllegalArgumentException e) {
      throw RecordOptions.named(e, EvaluatorOptions.class);
    }
  }

  private EvaluatorOptions asGiven() {
    return EvaluatorOptionsBuilder.builder()
        .pictures(pictures)
        .teacherSteps(teacherSteps)
        .studentSteps(studentSteps)
        .guidance(guidance)
        .studentGuidance(studentGuidance)
        .seed(seed)
        .batch(batch)
        .straightPictures(straightPictures)
        .compute(compute.chosen())
        .device(compute.device())
        .resamples(resamples)
        .textAgreement(!noTextAgreement)
        .build();
  }

  private void refuseModels() {
    if (referenceFolder == null) {
      throw new IllegalArgumentException(
          "--pictures-folder needs --reference-folder, the pictures to compare with");
    }
    if (teacher != null || student != null || models != null) {
      throw new IllegalArgumentException(
          "--pictures-folder compares pictures that are there; leave out --model, --teacher and"
              + " --student, or draw with them and --reference-folder alone");
    }
  }

  /** Teacher and student, those that come with perflow unless others are named; then the models. */
  private Evaluator withModels(Evaluator evaluator) throws IOException {
    if (sampler != null && models == null) {
      throw new IllegalArgumentException(
          "--sampler says how the models of --model are drawn with, and there is none; teachers are"
              + " drawn with by DDIM and students by their own");
    }
    Evaluator with = evaluator;
    if (teacher != null || models == null) {
      with = with.teacher(fetch(teacher, Installation.teacher()));
    }
    if (student != null || models == null) {
      with = with.student(fetch(student, Installation.student()));
    }
    for (String named : models == null ? List.<String>of() : models) {
      Path folder = fetch(named);
      with = sampler == null ? with.model(folder) : with.model(folder, sampler);
    }
    return with;
  }

  private void tell(String line) {
    err().println(line);
  }

  private void write(String title, Evaluated evaluated) throws IOException {
    EvaluationReport shown = new EvaluationReport(title, evaluated);
    shown.write(out);
    report(shown.json(), shown.table() + "%n%s".formatted(out.resolve("report.html")));
  }
}
