package org.perflow.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.perflow.evaluate.Evaluation;
import org.perflow.evaluate.FeatureNetwork;
import org.perflow.models.DiffusionModel;
import org.perflow.tensor.DType;
import picocli.CommandLine.Command;
import picocli.CommandLine.Option;

/** {@code perflow evaluate}. */
@Command(
    name = "evaluate",
    description =
        "Measures how close a student in few steps comes to its teacher in many, and what the"
            + " teacher's own DDIM does in few: same captions (held out from training), same noise."
            + " OUT gets report.html, grid.png and measurements.json.",
    footer = {
      "",
      "Examples:",
      "  perflow evaluate --out runs/evaluation",
      "  perflow evaluate --pictures 64 --teacher-steps 50,8 --student-steps 4 --out quick",
      "  perflow evaluate --student runs/first/student --out runs/first/evaluation --json"
    })
final class EvaluateCommand extends Verb {
  @Option(
      names = "--teacher",
      paramLabel = "DIR",
      description = "Diffusers folder (default: the one that comes with perflow).")
  @Nullable Path teacher;

  @Option(
      names = "--student",
      paramLabel = "DIR",
      description =
          "Diffusers folder of a PeRFlow model (default: the one that comes with perflow).")
  @Nullable Path student;

  @Option(
      names = "--features",
      paramLabel = "DIR",
      description = "Feature network of the Fréchet distance (default: models/emoji-features).")
  @Nullable Path features;

  @Option(
      names = "--data",
      split = ",",
      paramLabel = "PATH",
      description = "Shards with the captions, or folders with test.tar (default: data/emoji-64).")
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
      defaultValue = "3.0",
      paramLabel = "W",
      description = "Guidance of the teacher (default: ${DEFAULT-VALUE}).")
  double guidance;

  @Option(
      names = "--student-guidance",
      paramLabel = "W",
      description = "Guidance of the student (default: what it was trained for, else 3).")
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

  @Option(
      names = "--dtype",
      defaultValue = "float32",
      paramLabel = "TYPE",
      description = "Type to compute with: float32 or bfloat16 (default: ${DEFAULT-VALUE}).")
  String dtype;

  @Option(names = "--out", required = true, paramLabel = "DIR", description = "Folder to write to.")
  Path out;

  @Override
  void run() throws Exception {
    Path teacherFolder = teacher == null ? Installation.teacher() : teacher;
    Path studentFolder = student == null ? Installation.student() : student;
    Path featureFolder = features == null ? Installation.features() : features;
    List<Path> shards =
        Shards.find(data == null ? List.of(Installation.data()) : data, "test*.tar");
    try (DiffusionModel slow = Models.load(teacherFolder, DType.F32);
        DiffusionModel fast = Models.load(studentFolder, DType.F32);
        FeatureNetwork network = FeatureNetwork.load(featureFolder)) {
      List<Evaluation.System> systems = new ArrayList<>();
      for (int steps : teacherSteps) {
        systems.add(new Evaluation.System("Teacher, DDIM", slow, "ddim", steps, guidance));
      }
      double scale = studentGuidance == null ? Models.guidance(fast) : studentGuidance;
      for (int steps : studentSteps) {
        systems.add(new Evaluation.System("Student, PeRFlow", fast, "perflow", steps, scale));
      }
      Evaluation.Options standard = Evaluation.Options.DEFAULTS;
      Comparison comparison =
          Comparison.of(
              systems.get(0),
              systems.subList(1, systems.size()),
              Comparison.cases(shards, pictures, seed),
              Evaluation.Measures.on(network),
              new Evaluation.Options(
                  batch,
                  DType.parse(dtype),
                  Models.windows(fast),
                  standard.straightSteps() / Models.windows(fast) * Models.windows(fast),
                  straightPictures,
                  standard.gridCases(),
                  null),
              line -> err().println(line));
      Map<String, String> settings = new LinkedHashMap<>();
      settings.put("teacher", Installation.name(teacherFolder));
      settings.put("student", Installation.name(studentFolder));
      settings.put("features", Installation.name(featureFolder));
      settings.put("captions", shards.stream().map(Installation::name).toList().toString());
      settings.put("pictures", Integer.toString(pictures));
      settings.put("guidance", guidance + " (teacher), " + scale + " (student)");
      settings.put("first seed", Long.toString(seed));
      settings.put("dtype", DType.parse(dtype).torchName());
      settings.put("software", Main.VERSION + ", Java " + Runtime.version());
      comparison.write(
          out,
          "PeRFlow student against its teacher",
          "%,d pictures of captions held out from training; reference: the teacher in %d DDIM steps."
              .formatted(pictures, teacherSteps.get(0)),
          new double[0],
          settings);
      report(
          comparison.figures(), comparison.table() + "%n%s".formatted(out.resolve("report.html")));
    }
  }
}
