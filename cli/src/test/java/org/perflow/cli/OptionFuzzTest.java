package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.junit.jupiter.api.Assertions.assertTimeoutPreemptively;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.accelerate.Methods;
import org.perflow.delta.Delta;
import picocli.CommandLine;
import picocli.CommandLine.Model.OptionSpec;

/**
 * Every option that is a number, or is read as one, with numbers at random, from a seed: a command
 * takes it or refuses it in one line, soon. What comes after the options is kept short: models that
 * are not there, a dry run, or the smallest of files.
 */
class OptionFuzzTest {
  private static final Path SD15 = Path.of("../models/src/test/resources/golden/models/sd15");
  private static final Path UNET = SD15.resolve("unet/diffusion_pytorch_model.safetensors");
  private static final Path SHARD = Path.of("../io/src/test/resources/shards/empty.tar");

  /** Read as numbers, though they are texts. */
  private static final List<String> TEXTS =
      List.of("--guidance", "--student-steps", "--teacher-steps", "--styles", "--dtype");

  private static final List<String> VALUES =
      List.of(
          "0",
          "-0",
          "1",
          "-1",
          "3",
          "0.5",
          "100001",
          "2147483647",
          "-2147483648",
          "9223372036854775807",
          "99999999999999999999",
          "1e308",
          "1e-320",
          "1e999",
          "NaN",
          "Infinity",
          "-Infinity",
          "0x7",
          "1,5",
          "4-4",
          "-",
          "x",
          "\u0664",
          "");

  private static final List<String> UNREAL = List.of("NaN", "Infinity", "-Infinity", "1e999");

  @TempDir Path folder;

  private final Random random = new Random(21);
  private final Map<String, List<String>> lines = new TreeMap<>();

  @BeforeEach
  void linesThatEndSoon() throws IOException {
    Path delta = folder.resolve("delta.safetensors");
    Delta.extract(UNET, UNET, delta);
    Path out = folder.resolve("out.safetensors");
    String model = " --model none";
    lines.put("generate", words(model + " --prompt x --out " + folder.resolve("p.png")));
    String refined = " --controlnet " + SD15 + " --prompt x --out " + folder.resolve("p.png");
    lines.put("refine", words(model + refined));
    lines.put("evaluate", words(model + " --out " + folder.resolve("e")));
    String run = " --dry-run --out " + folder.resolve("run");
    lines.put("accelerate", words("--teacher " + SD15 + " --data " + SHARD + run));
    lines.put("pretrain", words("--like " + SD15 + " --data " + SHARD + run));
    lines.put("solvers", words("--teacher none --data none"));
    lines.put("serve", words(model));
    lines.put("inspect", words(UNET.toString()));
    lines.put("data inspect", words(SHARD.toString()));
    Path file = Files.writeString(folder.resolve("file"), "x");
    lines.put("data emoji", words("--packages " + file + " --out " + folder.resolve("emoji")));
    lines.put("data fashion-mnist", words("--from " + file + " --out " + folder.resolve("f")));
    String added = "--base " + SD15 + " --delta " + delta + " --out " + folder.resolve("m");
    lines.put("data import", words("none --out " + folder.resolve("i")));
    lines.put("delta apply", words(added));
    lines.put("delta unapply", words("--model " + UNET + " --delta " + delta + " --out " + out));
    lines.put("delta scale", words(delta + " --out " + out));
    lines.put("delta to-lora", words(delta + " --out " + out));
  }

  private static List<String> words(String line) {
    return List.of(line.strip().split(" "));
  }

  /** Options by command. */
  private static void numbers(
      CommandLine command, String name, Map<String, List<OptionSpec>> into) {
    for (OptionSpec option : command.getCommandSpec().options()) {
      Class<?> type = option.typeInfo().getType();
      boolean number = type.isPrimitive() && type != boolean.class;
      if (number
          || Number.class.isAssignableFrom(type)
          || TEXTS.contains(option.longestName()) && !name.startsWith("delta")) {
        into.computeIfAbsent(name, any -> new ArrayList<>()).add(option);
      }
    }
    command
        .getSubcommands()
        .forEach((verb, sub) -> numbers(sub, name.isEmpty() ? verb : name + " " + verb, into));
  }

  private void options(int count) {
    Map<String, List<OptionSpec>> options = new TreeMap<>();
    numbers(Main.commandLine(), "", options);
    options.remove("convert"); // a dtype alone
    options.remove("benchmark"); // takes minutes where it takes a size; see BadInputTest
    options.remove("trajectories");
    assertThat(lines.keySet()).containsAll(options.keySet());
    List<String> commands = List.copyOf(options.keySet());
    for (int i = 0; i < count; i++) {
      String command = any(commands);
      List<String> args = new ArrayList<>(words(command));
      args.addAll(lines.get(command));
      if (command.equals("accelerate")) {
        args.add("--method=" + any(Methods.ALL).name());
      }
      boolean unreal = false;
      for (int more = random.nextInt(3); more >= 0; more--) {
        OptionSpec option = any(options.get(command));
        String value = any(VALUES);
        args.add(option.longestName() + "=" + value);
        unreal |= UNREAL.contains(value);
      }
      check(args, unreal);
    }
  }

  private <T> T any(List<T> list) {
    return list.get(random.nextInt(list.size()));
  }

  private static void check(List<String> args, boolean unreal) {
    Commands result =
        assertTimeoutPreemptively(
            Duration.ofSeconds(30), // of a moment, on a machine with much else to do
            () -> Commands.run(args.toArray(String[]::new)),
            args::toString);
    assertThat(result.exitCode()).as("%s: %s", args, result.err()).isIn(0, 2);
    if (result.exitCode() == 2) {
      assertThat(result.err().lines().filter(line -> line.startsWith("perflow ")))
          .as("%s: %s", args, result.err())
          .singleElement()
          .asString()
          .doesNotContain("Exception", "java.", ": null");
    }
    if (unreal) {
      assertThat(result.exitCode()).as("%s", args).isEqualTo(2);
    }
  }

  @Test
  void numbersAreTakenOrRefused() {
    options(250);
  }

  @Tag("slow")
  @Test
  void manyNumbersAreTakenOrRefused() {
    options(10_000);
  }
}
