package org.perflow.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.within;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.io.Images;
import org.perflow.io.Json;
import org.perflow.io.Sample;
import org.perflow.models.DiffusionModel;
import org.perflow.tensor.Device;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

class TextAgreementTest {
  /** Mean red, green and blue, so written that the towers' LayerNorm keeps all three. */
  private static final class Colours implements Features {
    @Override
    public String name() {
      return "colours";
    }

    @Override
    public int side() {
      return 64;
    }

    @Override
    public Tensor features(Tensor pictures) {
      Tensor colour = pictures.mean(2, 3);
      Tensor one = Tensor.full(1, pictures.size(0), 1);
      return Tensor.cat(1, colour, one, colour.neg(), one.neg());
    }

    @Override
    public String fingerprint() {
      return "colours";
    }

    @Override
    public void close() {}
  }

  private static final TextAgreement.Options OPTIONS =
      new TextAgreement.Options(250, 32, 4, 16, 10, 2e-2, 0.01, 0);

  @Test
  void theChanceToWinIsHypergeometric() {
    assertThat(TextAgreement.winning(31, 0)).isEqualTo(1);
    assertThat(TextAgreement.winning(31, 1)).isZero(); // all others are there
    assertThat(TextAgreement.winning(62, 1)).isCloseTo(0.5, within(1e-12));
    // C(98, 31) / C(100, 31) = 69 · 68 / (100 · 99)
    assertThat(TextAgreement.winning(100, 2)).isCloseTo(69 * 68 / 9900.0, within(1e-12));
  }

  /** With eight seeds it finds 20 to 26 of the 32 captions, untrained 1 or 2. */
  @Test
  void learnsWhichCaptionAPictureHas(@TempDir Path folder) throws IOException {
    Device.threads(1);
    List<Sample> samples = samples(folder.resolve("pixels"));
    Optional<TensorCache> cache = Optional.of(new TensorCache(folder.resolve("cache")));
    try (Scope scope = Scope.open();
        DiffusionModel reader = EvaluationTest.tinyModel(folder);
        Features features = new Colours()) {
      double learnt;
      try (TextAgreement agreement =
          TextAgreement.train(features, reader, samples, OPTIONS, cache)) {
        learnt = agreement.agreement(samples).value();
        assertThat(learnt).isGreaterThan(0.4); // chance: 1/32
        List<Sample> wrong = shifted(samples);
        assertThat(agreement.agreement(wrong).value()).isLessThan(0.1);
      }
      assertThat(Files.list(folder.resolve("cache")).toList()).hasSize(1);
      try (TextAgreement kept = TextAgreement.train(features, reader, samples, OPTIONS, cache);
          TextAgreement again =
              TextAgreement.train(features, reader, samples, OPTIONS, Optional.empty())) {
        assertThat(kept.agreement(samples).value()).isEqualTo(learnt);
        assertThat(again.agreement(samples).value()).isCloseTo(learnt, within(1e-9));
        assertThatThrownBy(() -> kept.hits(Tensor.full(0, 3, 3), List.of("a", "b", "a")))
            .hasMessageContaining("32 captions; got 2 different ones");
      }
    }
  }

  /** Captions of four letters, and two of one; a colour says how many of which letters. */
  private static List<Sample> samples(Path folder) throws IOException {
    List<Sample> samples = new ArrayList<>();
    samples.add(sample(folder, "a", 0xffffff));
    samples.add(sample(folder, "b", 0xff00ff));
    for (int a = 0; a <= 3; a++) {
      for (int b = 0; a + b <= 3; b++) {
        for (int words = 0; a + b + words <= 4; words++) { // that end in a; the others in b
          List<String> ends = new ArrayList<>(Collections.nCopies(words, "a"));
          ends.addAll(Collections.nCopies(4 - a - b - words, "b"));
          String caption = "a".repeat(a) + "b".repeat(b) + String.join(" ", ends);
          samples.add(sample(folder, caption, (a * 60) << 16 | (b * 60) << 8 | words * 60));
        }
      }
    }
    return samples;
  }

  private static Sample sample(Path folder, String caption, int colour) throws IOException {
    BufferedImage picture = new BufferedImage(64, 64, BufferedImage.TYPE_INT_RGB);
    for (int p = 0; p < 64 * 64; p++) {
      picture.setRGB(p % 64, p / 64, colour);
    }
    Files.createDirectories(folder);
    Path file = folder.resolve(caption + ".png");
    Images.writePng(file, picture, Map.of());
    return new Sample(
        "shard", caption, Files.readAllBytes(file), caption, Json.MAPPER.createObjectNode());
  }

  private static List<Sample> shifted(List<Sample> samples) {
    List<Sample> turned = new ArrayList<>(samples);
    Collections.rotate(turned, 7);
    List<Sample> wrong = new ArrayList<>();
    for (int i = 0; i < turned.size(); i++) {
      Sample one = samples.get(i);
      wrong.add(new Sample("", one.key(), one.picture(), turned.get(i).caption(), one.json()));
    }
    return wrong;
  }
}
