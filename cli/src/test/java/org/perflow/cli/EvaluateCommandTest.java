package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import com.fasterxml.jackson.databind.JsonNode;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.io.Images;
import org.perflow.io.Json;

/** Pictures against pictures, and what is drawn where nobody says how; EvaluationTest has more. */
class EvaluateCommandTest {
  private static final String SHIPPED = "../models/emoji-features";
  private static final String TORCH = "../tensor/src/test/resources/torchscript/plain.pt";

  @TempDir Path temp;

  private Commands evaluate(String features, String... more) {
    List<String> args =
        new ArrayList<>(
            List.of(
                "evaluate",
                "--features=" + features,
                "--resamples=5",
                "--cache=" + temp.resolve("cache"),
                "--out=" + temp.resolve("out")));
    args.addAll(List.of(more));
    return Commands.run(args.toArray(String[]::new));
  }

  @Test
  void foldersOfPicturesNeedNoModel() throws IOException {
    String real = "--reference-folder=" + pictures("real", 1, 64);
    String same = "--pictures-folder=" + pictures("same", 1, 64);
    String other = "--pictures-folder=" + pictures("other", 2, 64);
    Commands result = evaluate(SHIPPED, real, same, other, "--json");
    assertThat(result.exitCode()).as(result.err()).isZero();
    JsonNode json = Json.MAPPER.readTree(result.out());
    assertThat(json.path("features").asText()).isEqualTo("emoji-features");
    JsonNode set = json.path("systems").get(0).path("set");
    assertThat(set.path("frechet").path("value").asDouble()).isCloseTo(0, within(1e-6));
    assertThat(set.path("precision").path("value").asDouble()).isEqualTo(1);
    JsonNode far = json.path("systems").get(1).path("set").path("frechet");
    assertThat(far.path("value").asDouble()).isGreaterThan(1e-3);
    assertThat(far.path("samples").asInt()).isEqualTo(8);
    assertThat(temp.resolve("out/report.html")).content().contains("FD (emoji-features)");

    Commands again = evaluate(SHIPPED, real, same, other);
    assertThat(again.out()).contains("same (8)", "other (8)", "FD (emoji-features)");
    assertThat(Files.list(temp.resolve("cache")).toList()).hasSize(2); // two folders are alike
  }

  @Test
  void aTorchScriptFileGivesFeaturesOfPicturesOfAnySize() throws IOException {
    String real = "--reference-folder=" + pictures("real", 1, 20);
    String drawn = "--pictures-folder=" + pictures("drawn", 2, 20);
    Commands result = evaluate(TORCH, real, drawn);
    assertThat(result.exitCode()).as(result.err()).isZero();
    assertThat(result.out()).contains("FD (plain)", "features: plain");
  }

  @Test
  void aModelAloneIsDrawnWithTheGuidanceThatHelpNames() throws IOException {
    Commands result =
        evaluate(
            SHIPPED,
            "--model=../models/src/test/resources/golden/models/sd15",
            "--data=../data/emoji-64",
            "--pictures=6",
            "--teacher-steps=2,1",
            "--straight-pictures=1",
            "--no-text-agreement");
    assertThat(result.exitCode()).as(result.err()).isZero();
    assertThat(temp.resolve("out/report.html")).content().contains("7.5 (sd15)");
  }

  @Test
  void settingsAreRefusedBeforeAnyModelIsLookedFor() {
    String nowhere = "--model=no-such-model";
    refused(
        evaluate(SHIPPED, nowhere, "--straight-pictures=0"),
        "--straight-pictures must be",
        "got 0");
    refused(evaluate(SHIPPED, nowhere, "--pictures=5"), "--pictures must be 6 or more", "got 5");
    refused(
        evaluate(SHIPPED, nowhere, "--teacher-steps=4,-1"), "--teacher-steps must be", "[4, -1]");
    refused(evaluate(SHIPPED, nowhere, "--batch=0"), "--batch must be 1 or more; got 0");
    refused(evaluate(SHIPPED, nowhere, "--dtype=float16"), "float32 or bfloat16; got float16");
    refused(evaluate(SHIPPED, "--sampler=ddim"), "--sampler", "--model");
    refused(evaluate(SHIPPED, nowhere), "no-such-model");
  }

  @Test
  void whatCannotBeComparedIsRefusedInOneLine() throws IOException {
    String real = "--reference-folder=" + pictures("real", 1, 64);
    String small = "--pictures-folder=" + pictures("small", 2, 32);
    refused(evaluate(SHIPPED, real, small), "32 × 32 pixels, expected 64 × 64", "small");
    refused(evaluate(SHIPPED, small), "needs --reference-folder");
    refused(evaluate(SHIPPED, small, real, "--model=x"), "leave out --model");
    Path broken = Files.writeString(temp.resolve("broken.pt"), "no module");
    refused(evaluate(broken.toString(), real, small), "broken.pt is no TorchScript module");
  }

  private static void refused(Commands result, String... words) {
    assertThat(result.exitCode()).as(result.err()).isEqualTo(2);
    assertThat(result.err().lines().reduce((first, second) -> second).orElse("")).contains(words);
  }

  /** Eight pictures of coarse noise. */
  private Path pictures(String name, long seed, int side) throws IOException {
    Path folder = Files.createDirectories(temp.resolve(name));
    Random random = new Random(seed);
    for (int i = 0; i < 8; i++) {
      BufferedImage picture = new BufferedImage(side, side, BufferedImage.TYPE_INT_RGB);
      int[] tones = random.ints(16, 0, 1 << 24).toArray();
      for (int p = 0; p < side * side; p++) {
        int cell = p % side * 4 / side + p / side * 4 / side * 4;
        picture.setRGB(p % side, p / side, tones[cell]);
      }
      Images.writePng(folder.resolve(i + ".png"), picture, Map.of());
    }
    return folder;
  }
}
