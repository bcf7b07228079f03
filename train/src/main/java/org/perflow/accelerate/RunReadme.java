package org.perflow.accelerate;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.perflow.distill.StudentRun;
import org.perflow.hub.Hub;
import org.perflow.io.AtomicFiles;
import org.perflow.io.Images;
import org.perflow.io.Json;
import org.perflow.memory.Memory;
import org.perflow.memory.MemoryPlan;
import org.perflow.train.Trainer;

/** The README of a run's folder: what was done, what came of it, and what to do with it. */
final class RunReadme {
  private RunReadme() {}

  /**
   * Writes {@code README.md}, and of an evaluation {@code evaluation.json} and {@code samples.png}.
   *
   * @param command that began the run; null where it was begun from Java
   */
  static void write(
      StudentRun<?> run,
      @Nullable String command,
      Trainer.Result result,
      MemoryPlan plan,
      @Nullable EqualCost bought)
      throws IOException {
    Path folder = run.out();
    if (bought != null) {
      Images.writePng(folder.resolve("samples.png"), bought.grid(), Map.of());
      Json.write(folder.resolve("evaluation.json"), bought.rows());
    }
    String text =
        """
        # %s, accelerated

        %s

        | | |
        |---|---|
        | teacher | %s |
        | data | %s |
        | method | %s |
        | steps | %,d of %d x %d pictures |
        | last loss | %.4f |
        | time | %.0f s |
        | memory, planned | %.2f GB |
        | memory, this process's peak | %.2f GB |

        """
            .formatted(
                Hub.nameOf(run.teacher()),
                command == null ? "Made from Java." : "    " + command,
                run.teacher(),
                String.join(", ", run.shards().stream().map(Path::toString).toList()),
                run.method().name(),
                result.steps(),
                run.train().accumulate(),
                run.train().batch(),
                result.loss(),
                result.seconds(),
                plan.bytes() / 1e9,
                Memory.peak() / 1e9);
    byte[] whole =
        (text + evaluation(bought) + use(run) + settings(run)).getBytes(StandardCharsets.UTF_8);
    AtomicFiles.write(folder.resolve("README.md"), file -> file.write(whole));
  }

  private static String evaluation(@Nullable EqualCost bought) {
    return bought == null
        ? ""
        : """
          ## What was bought

          %s.

          %s
          ![the student's pictures, below them the teacher's in 50 steps](samples.png)

          A few pictures say little about how good they look; `perflow evaluate` measures in earnest.

          """
            .formatted(bought.sentence(), bought.table());
  }

  private static String use(StudentRun<?> run) {
    StringBuilder text =
        new StringBuilder(
            """
            ## Draw

                perflow generate --model %1$s --prompt "..." --out picture.png
                perflow serve --model %1$s

            In Java:

                try (Pipeline pipe = Pipeline.load(Path.of("%1$s"))) {
                  ImageIO.write(pipe.draw(Request.of("...")), "png", new File("picture.png"));
                }

            Another fine-tune of the same teacher becomes as fast by the difference alone:

                perflow delta apply --base my-finetune --delta %1$s/delta.safetensors --any-base --out my-fast-model

            """
                .formatted(run.student()));
    List<Path> loras = run.loras().values().stream().filter(Files::exists).sorted().toList();
    if (!loras.isEmpty()) {
      text.append("As a LoRA, for kohya's scripts and user interfaces, and for diffusers:\n\n");
      loras.forEach(file -> text.append("    ").append(file).append('\n'));
      text.append('\n');
    }
    return text.append(
            """
            ## Publish

                perflow delta publish-card %s --license LICENSE-OF-THE-TEACHER
                hf upload my-name/my-model %s

            The first writes the card that the hub shows, with these figures and pictures.

            """
                .formatted(run.out(), run.student()))
        .toString();
  }

  private static String settings(StudentRun<?> run) throws IOException {
    return String.format(
        Locale.ROOT,
        "## Settings%n%n`--config %s` takes them again.%n%n```json%n%s%n```%n",
        run.out().resolve("config.json"),
        Json.MAPPER.writerWithDefaultPrettyPrinter().writeValueAsString(run.config().json()));
  }
}
