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
  /** Mean red, green and blue. */
  private static final class Colours implements Features {
    @Override
    public String name() {
      return "colours";
    }

    @Override
    public int side() {
      return 16;
    }

    @Override
    public Tensor features(Tensor pictures) {
      return pictures.mean(2, 3);
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
        assertThat(learnt).isGreaterThan(0.25); // chance: 1/32
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

  /** 32 captions of a's and b's, each with a colour that its letters say. */
  private static List<Sample> samples(Path folder) throws IOException {
    Files.createDirectories(folder);
    List<Sample> samples = new ArrayList<>();
    for (int i = 0; i < 32; i++) {
      StringBuilder caption = new StringBuilder();
      int[] tone = new int[3];
      for (int bit = 0; bit < 5; bit++) {
        boolean set = (i >> bit & 1) == 1;
        caption.append(bit == 4 ? "" : set ? "b" : "a");
        tone[bit % 3] += set ? (bit < 3 ? 150 : 100) : 0;
      }
      if (i > 15) {
        caption.insert(2, ' '); // four tokens, and which end a word: all that the reader takes in
      }
      BufferedImage picture = new BufferedImage(16, 16, BufferedImage.TYPE_INT_RGB);
      for (int p = 0; p < 256; p++) {
        int shade = p % 16 < 8 ? 1 : 2;
        picture.setRGB(
            p % 16, p / 16, tone[0] / shade << 16 | tone[1] / shade << 8 | tone[2] / shade);
      }
      Path file = folder.resolve(i + ".png");
      Images.writePng(file, picture, Map.of());
      samples.add(
          new Sample(
              "shard",
              Integer.toString(i),
              Files.readAllBytes(file),
              caption.toString(),
              Json.MAPPER.createObjectNode()));
    }
    return samples;
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
