package org.perflow.accelerate;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.soabase.recordbuilder.core.RecordBuilder;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;
import org.perflow.distill.Method;
import org.perflow.distill.StudentRun;
import org.perflow.distill.perflow.PerflowMethod;
import org.perflow.io.FolderLock;
import org.perflow.io.FormatException;
import org.perflow.io.Json;
import org.perflow.io.Overrides;
import org.perflow.io.Sample;
import org.perflow.io.Shards;
import org.perflow.memory.MemoryPlan;
import org.perflow.memory.Planner;
import org.perflow.memory.Workload;
import org.perflow.models.SchedulerConfig;
import org.perflow.models.lora.LoraFile;
import org.perflow.tensor.DType;
import org.perflow.train.Catalogue;
import org.perflow.train.LoraOptions;
import org.perflow.train.RunConfig;
import org.perflow.train.TrainListener;
import org.perflow.train.TrainOptions;
import org.perflow.train.Trainer;

/**
 * The front door to acceleration: from a teacher's folder and captioned pictures to a student's
 * folder, which {@link org.perflow.pipeline.Pipeline} draws with in a few steps.
 *
 * <pre>{@code
 * Accelerator.Student student =
 *     Accelerator.of(Path.of("models/emoji-64"))
 *         .data(Path.of("data/emoji-64"))
 *         .train(TrainOptions.DEFAULTS.withSteps(500))
 *         .out(Path.of("runs/first"))
 *         .run();
 * try (Pipeline pipe = Pipeline.load(student.folder())) {
 *   ImageIO.write(pipe.draw(Request.of("red apple")), "png", new File("apple.png"));
 * }
 * }</pre>
 *
 * <p>A method and its settings are chosen together, and begin with what suits the teacher. Progress
 * is what listeners are told, and a listener ends the run where it wants to; the run then has a
 * checkpoint from which {@link #resume} goes on:
 *
 * <pre>{@code
 * AtomicBoolean cancelled = new AtomicBoolean(); // set by any thread
 * TrainListener listener =
 *     new TrainListener() {
 *       @Override
 *       public void onStep(Report report) {
 *         System.out.printf("%.0f%%, loss %.4f%n", 100 * report.progress(), report.loss());
 *       }
 *
 *       @Override
 *       public boolean wantsStop() {
 *         return cancelled.get();
 *       }
 *     };
 * Accelerator accelerator =
 *     Accelerator.of(Path.of("models/emoji-64"))
 *         .data(Path.of("data/emoji-64"))
 *         .method(PerflowMethod.MEASURED, suited -> suited.withWindows(8))
 *         .out(Path.of("runs/second"));
 * try {
 *   accelerator.run(listener);
 * } catch (StoppedException e) {
 *   accelerator.resume(listener);
 * }
 * }</pre>
 *
 * <p>Immutable. A run computes on the thread that calls it and frees all its native memory.
 */
public final class Accelerator {
  private final Settings settings;

  /** A method and what is changed of the settings that suit the teacher. */
  record Choice<O extends Record>(Method<O> method, UnaryOperator<O> settings) {}

  /**
   * What is chosen.
   *
   * @param known what the data hold, where they were read for a plan of memory already
   */
  @RecordBuilder
  record Settings(
      Path teacher,
      @Nullable Path start,
      List<Path> data,
      @Nullable Catalogue known,
      Choice<?> choice,
      TrainOptions train,
      @Nullable LoraOptions lora,
      @Nullable DType teacherAs,
      DType saveAs,
      @Nullable Path cache,
      int evaluate,
      @Nullable String command,
      @Nullable Path out)
      implements AcceleratorSettingsBuilder.With {}

  /**
   * What was made.
   *
   * @param folder the student's diffusers folder
   * @param delta student − teacher, float32
   * @param loras its LoRA files by format, where it was trained as one
   * @param curve loss over the run, a CSV file
   * @param training steps, last loss and seconds
   * @param bought beside the teacher's samplers; null where that was not asked for
   */
  public record Student(
      Path folder,
      Path delta,
      Map<LoraFile.Format, Path> loras,
      Path curve,
      Trainer.Result training,
      @Nullable EqualCost bought) {}

  private Accelerator(Settings settings) {
    this.settings = settings;
  }

  /** By PeRFlow, with the settings that we measured to be best, unless told otherwise. */
  public static Accelerator of(Path teacher) {
    return new Accelerator(
        new Settings(
            teacher,
            null,
            List.of(),
            null,
            new Choice<>(PerflowMethod.MEASURED, UnaryOperator.identity()),
            TrainOptions.DEFAULTS,
            null,
            null,
            DType.F16,
            null,
            0,
            null,
            null));
  }

  /** Shards of captioned pictures, or folders with {@code train-*.tar}. */
  public Accelerator data(Path... shardsOrFolders) {
    return data(List.of(shardsOrFolders));
  }

  /** The same from a list. */
  public Accelerator data(List<Path> shardsOrFolders) {
    return new Accelerator(settings.withData(List.copyOf(shardsOrFolders)).withKnown(null));
  }

  /** Folder of an earlier student to go on from; else the student starts as the teacher. */
  public Accelerator start(Path student) {
    return new Accelerator(settings.withStart(student));
  }

  /**
   * One of {@link Methods} with the settings that suit the teacher.
   *
   * @throws IllegalArgumentException naming those there are
   */
  public Accelerator method(String name) {
    return suited(Methods.of(name));
  }

  private <O extends Record> Accelerator suited(Method<O> method) {
    return method(method, UnaryOperator.identity());
  }

  /** A method, one's own too, and what to change of the settings that suit the teacher. */
  public <O extends Record> Accelerator method(Method<O> method, UnaryOperator<O> change) {
    return new Accelerator(settings.withChoice(new Choice<>(method, change)));
  }

  /** Settings of the training; else {@link TrainOptions#DEFAULTS}. */
  public Accelerator train(TrainOptions options) {
    return new Accelerator(settings.withTrain(options));
  }

  /** Whether the student is trained as a LoRA; else as the method has it. */
  public Accelerator lora(LoraOptions options) {
    return new Accelerator(settings.withLora(options));
  }

  /**
   * Type that the frozen teacher's weights are kept in; else the one that it computes in. F16 takes
   * half of float32, and of a teacher whose files are of float16 it is exact.
   */
  public Accelerator teacherAs(DType type) {
    return new Accelerator(settings.withTeacherAs(type));
  }

  /** Element type of the student's files; else F16. */
  public Accelerator saveAs(DType type) {
    return new Accelerator(settings.withSaveAs(type));
  }

  /**
   * Folder of latents and text states, which runs on the same data may share; else in the run's.
   */
  public Accelerator cache(Path folder) {
    return new Accelerator(settings.withCache(folder));
  }

  /**
   * How many pictures the student draws at the end, to be compared with the teacher's samplers at
   * the same cost ({@link EqualCost}); else none.
   */
  public Accelerator evaluate(int pictures) {
    if (pictures < 0 || pictures > 10_000) {
      throw new IllegalArgumentException("evaluate must be 0 to 10,000 pictures; got " + pictures);
    }
    return new Accelerator(settings.withEvaluate(pictures));
  }

  /** What the run's README says it was begun by. */
  public Accelerator command(String line) {
    return new Accelerator(settings.withCommand(line));
  }

  /**
   * Method and settings of one of {@link Presets}, in the place of any that were chosen before.
   *
   * @throws IllegalArgumentException naming those there are
   */
  public Accelerator preset(String name) {
    RunConfig preset = Presets.of(name);
    Method<?> method = Methods.of(preset.json().path("method").asText());
    return preset(method, preset)
        .train(Overrides.apply(TrainOptions.DEFAULTS, preset.section("train")))
        .lora(Overrides.apply(method.lora(), preset.section("lora")));
  }

  private <O extends Record> Accelerator preset(Method<O> method, RunConfig preset) {
    return method(method, suited -> Overrides.apply(suited, preset.section(method.name())));
  }

  /** Folder of the run: config, checkpoints, samples and, at the end, the student. */
  public Accelerator out(Path folder) {
    return new Accelerator(settings.withOut(folder));
  }

  /**
   * Trains a student in a new folder.
   *
   * @throws IOException where files cannot be read or written, or the folder already holds a run
   * @throws IllegalArgumentException where settings do not fit each other or the teacher, before
   *     anything is loaded
   * @throws org.perflow.train.DivergedException where loss or gradients are NaN or infinite
   * @throws org.perflow.train.StoppedException where a listener wanted to stop
   */
  public Student run(TrainListener... listeners) throws IOException {
    return made(prepare(), false, listeners);
  }

  /**
   * Goes on with a run that was stopped, from its newest checkpoint.
   *
   * @throws IllegalArgumentException also where there is none, or the run had other settings
   */
  public Student resume(TrainListener... listeners) throws IOException {
    return made(prepare(), true, listeners);
  }

  private Student made(StudentRun<?> run, boolean resume, TrainListener... listeners)
      throws IOException {
    try (FolderLock lock = FolderLock.take(run.out())) { // before data are read for the plan
      Catalogue data = catalogue(run);
      MemoryPlan plan = Planner.plan(run.workload(data));
      tell(plan.text(), listeners);
      Trainer.Result result = run.train(data, resume, listeners);
      EqualCost bought = settings.evaluate() == 0 ? null : bought(run, data);
      if (bought != null) {
        tell(bought.sentence(), listeners);
      }
      RunReadme.write(run, settings.command(), result, plan, bought);
      Map<LoraFile.Format, Path> written = new TreeMap<>(run.loras());
      written.values().removeIf(file -> !Files.exists(file));
      return new Student(
          run.student(),
          run.student().resolve("delta.safetensors"),
          written,
          run.curve(),
          result,
          bought);
    }
  }

  private static void tell(String note, TrainListener... listeners) throws IOException {
    for (TrainListener listener : listeners) {
      listener.onNote(note);
    }
  }

  /** On captions that were held out from training where there are some, else on those of it. */
  private EqualCost bought(StudentRun<?> run, Catalogue data) throws IOException {
    List<Path> shards;
    try {
      shards = Shards.test(settings.data());
    } catch (FormatException e) { // nothing was held out
      shards = run.shards();
    }
    Catalogue drawn = shards.equals(data.shards()) ? data : Catalogue.of(shards);
    List<String> captions = drawn.samples().stream().map(Sample::caption).toList();
    return EqualCost.measure(
        run.teacher(),
        run.student(),
        captions,
        settings.evaluate(),
        run.train().computeType(),
        run.train().device());
  }

  /** What the data hold: every picture is passed once, which takes long where they are many. */
  private Catalogue catalogue(StudentRun<?> run) throws IOException {
    Catalogue known = settings.known();
    return known == null ? Catalogue.of(run.shards()) : known;
  }

  /** The effective settings, as the run's {@code config.json} has them. */
  public RunConfig config() throws IOException {
    return prepare().config();
  }

  /** What the run will take in memory, and what would make it fit where it does not. */
  public MemoryPlan memory() throws IOException {
    StudentRun<?> run = prepare();
    return Planner.plan(run.workload(catalogue(run)));
  }

  /**
   * The same run with what settings take less memory, the cheapest first, until it fits; as it is
   * where it fits already.
   *
   * @throws IllegalArgumentException where all of them do not make it fit
   */
  public Accelerator lowMemory() throws IOException {
    StudentRun<?> run = prepare();
    Catalogue data = catalogue(run);
    Workload work = run.workload(data);
    Workload less =
        Planner.fitted(work)
            .orElseThrow(() -> new IllegalArgumentException(Planner.plan(work).text()));
    Settings changed = settings.withKnown(data).withTrain(less.train());
    if (!less.lora().equals(work.lora())) {
      changed = changed.withLora(less.lora());
    }
    return new Accelerator(
        less.teacher() == null ? changed : changed.withTeacherAs(less.teacher()));
  }

  /**
   * The run, checked as far as can be before anything is loaded.
   *
   * @throws IllegalArgumentException where settings do not fit each other or the teacher
   * @throws NoSuchFileException where teacher or data are not there
   */
  public StudentRun<?> prepare() throws IOException {
    return prepare(settings.choice());
  }

  private <O extends Record> StudentRun<O> prepare(Choice<O> choice) throws IOException {
    Path out = settings.out();
    if (out == null || settings.data().isEmpty()) {
      throw new IllegalArgumentException(
          "a run needs data to learn from and a folder to write to; got "
              + settings.data()
              + " and "
              + out);
    }
    Method<O> method = choice.method();
    ObjectNode scheduler = scheduler();
    O options = choice.settings().apply(method.suited(scheduler, method.defaults()));
    method.require(scheduler, options);
    LoraOptions factors = settings.lora() == null ? method.lora() : settings.lora();
    method.require(factors, options);
    return new StudentRun<>(
        settings.teacher(),
        settings.start(),
        Shards.train(settings.data()),
        method,
        options,
        RunConfig.settled(settings.train(), out),
        factors,
        settings.teacherAs(),
        settings.saveAs(),
        settings.cache() == null ? out.resolve("cache") : settings.cache(),
        out);
  }

  private ObjectNode scheduler() throws IOException {
    Path teacher = settings.teacher();
    if (!Files.exists(teacher)) {
      throw new NoSuchFileException(
          teacher.toString(), null, "there is no such model; name a diffusers folder");
    }
    Path config = teacher.resolve("scheduler/scheduler_config.json");
    if (!Files.exists(config)) {
      throw new FormatException(
          teacher
              + " is no diffusers folder: it has no scheduler/scheduler_config.json; perflow"
              + " convert makes one of a single file");
    }
    return SchedulerConfig.checked(config, Json.readObject(config));
  }
}
