package org.perflow.evaluate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ReportTest {
  @Test
  void isOneFileThatAsksNothingOfTheNetwork(@TempDir Path folder) throws IOException {
    BufferedImage picture = new BufferedImage(64, 64, BufferedImage.TYPE_INT_RGB);
    Report.Grid grid =
        new Report.Grid(
            List.of("red apple", "a \"cat\" & <dog>"),
            List.of(new Report.Line("Teacher, 50 steps", List.of(picture, picture))));
    List<Measurement> rows =
        List.of(row("Teacher", 50, 0), row("Teacher", 4, 0.2), row("Student", 4, 0.0625));
    Path file = folder.resolve("report.html");
    new Report(
            "Demo",
            "What it is.",
            "FD (tiny)",
            rows,
            grid,
            new double[] {3, 2, 1},
            Map.of("K", "4"))
        .write(file);
    String html = Files.readString(file);
    assertThat(html).contains("<td>0.0625</td>", "the reference", "FD (tiny)", "red apple");
    assertThat(html).contains("a &quot;cat&quot; &amp; &lt;dog&gt;").doesNotContain("<dog>");
    assertThat(html).doesNotContain("http:", "https:", "@BODY@", "@TITLE@");
    // two pictures, and two plots of which each has a light and a dark version
    assertThat(html.split("data:image/png;base64,", -1)).hasSize(1 + 2 + 4);
  }

  @Test
  void leavesOutWhatWasNotMeasured() {
    Report report =
        new Report(
            "T", "S", "FD", List.of(row("A", 4, 0)), Report.Grid.none(), new double[0], Map.of());
    assertThat(report.html()).doesNotContain("Training loss", "Pictures", "Error over cost");
  }

  @Test
  void everyLineOfTheGridHasAPicturePerPrompt() {
    assertThatThrownBy(
            () -> new Report.Grid(List.of("a", "b"), List.of(new Report.Line("x", List.of()))))
        .hasMessageContaining("\"x\" has 0 pictures for 2 prompts");
  }

  static Measurement row(String label, int steps, double error) {
    PairedError paired = PairedError.of(new double[] {error * error});
    Straightness straight = new Straightness(0.5, 0.25);
    return new Measurement(
        label, steps, 2 * steps, paired, paired, 1.5, 0.01, 0.001, straight, straight);
  }
}
