package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import java.awt.image.BufferedImage;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Set;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.io.Images;
import org.perflow.io.Json;

class TrajectoriesCommandTest {
  @TempDir Path temp;

  @Test
  void drawsTwoMethodsBesideTheirTeacher() throws Exception {
    Commands result =
        Commands.run(
            "trajectories",
            "--methods=pcm,lcm",
            "--steps-of-training=60",
            "--json",
            "--out=" + temp);
    assertThat(result.exitCode()).as(result.err()).isZero();
    assertThat(result.err()).contains("pcm: 60 training steps").contains("lcm: 60 training steps");
    JsonNode figures = Json.read(temp.resolve("trajectories.json"));
    assertThat(Json.MAPPER.readTree(result.out())).isEqualTo(figures);
    JsonNode panels = figures.get("trajectories");
    assertThat(panels.findValuesAsText("name"))
        .containsExactly("teacher, DDIM", "teacher, DDIM", "pcm", "lcm");
    assertThat(energy(panels.get(0), "end")).isLessThan(energy(panels.get(1), "end") / 4);
    assertThat(energy(panels.get(2), "end")).isNotEqualTo(energy(panels.get(2), "start"));
    assertPicture(Images.read(temp.resolve("trajectories.png")), 4);
    String svg = Files.readString(temp.resolve("trajectories.svg"));
    assertThat(svg).contains("<svg", "between two windows");
  }

  private static double energy(JsonNode panel, String when) {
    return panel.get(when).get("energy").asDouble();
  }

  /** Every panel has the colour of its samples. */
  private static void assertPicture(BufferedImage image, int panels) {
    Set<Integer> seen = new HashSet<>();
    int width = image.getWidth() / panels;
    for (int y = image.getHeight() / 4; y < image.getHeight(); y++) {
      for (int x = 0; x < image.getWidth(); x++) {
        if ((image.getRGB(x, y) & 0xffffff) == 0xd55e00) {
          seen.add(x / width);
        }
      }
    }
    assertThat(seen).hasSize(panels);
  }

  @Test
  void namesTheMethodsThereAre() {
    Commands result = Commands.run("trajectories", "--methods=pferlow", "--out=" + temp);
    assertThat(result.exitCode()).isEqualTo(2);
    assertThat(result.err()).contains("no method 'pferlow'").contains("perflow-published, reflow");
  }
}
