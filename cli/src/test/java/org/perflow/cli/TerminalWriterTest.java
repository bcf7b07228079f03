package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.PrintWriter;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.cli.terminal.TerminalWriter;
import org.perflow.io.Json;
import org.perflow.io.Sample;
import org.perflow.io.ShardWriter;
import org.perflow.io.picture.PngText;

/** What comes out of files and prompts shows on a terminal and commands nothing there. */
class TerminalWriterTest {
  private static final String EVIL = "\u001b[31mred\u001b]0;title\u0007\rhidden \u202eleft\u009b1m";
  private static final String SHOWN =
      "\\u001b[31mred\\u001b]0;title\\u0007\\u000dhidden \\u202eleft\\u009b1m";

  @TempDir Path folder;

  private static String print(String text) {
    StringWriter out = new StringWriter();
    PrintWriter writer = TerminalWriter.on(out);
    writer.print(text);
    writer.println();
    text.chars().forEach(writer::write);
    writer.flush();
    return out.toString();
  }

  @Test
  void showsWhatWouldCommand() {
    assertThat(print(EVIL)).isEqualTo(SHOWN + System.lineSeparator() + SHOWN);
    assertThat(print("\u2028\u2066x\u200f")).startsWith("\\u2028\\u2066x\\u200f");
  }

  @Test
  void leavesTextAlone() {
    String text = "a\tb\nc grüße 猫 👩\u200d🚀 \\u001b \"x\"";
    assertThat(print(text)).isEqualTo(text + System.lineSeparator() + text);
  }

  private Path shard(String caption) throws IOException {
    ByteArrayOutputStream png = new ByteArrayOutputStream();
    PngText.write(png, new BufferedImage(4, 4, BufferedImage.TYPE_INT_RGB), Map.of());
    Path tar = folder.resolve("test.tar");
    try (ShardWriter writer = new ShardWriter(tar)) {
      JsonNode none = JsonNodeFactory.instance.objectNode();
      writer.write(new Sample("", "1", png.toByteArray(), caption, none));
      writer.finish();
    }
    return tar;
  }

  @Test
  void captionsOfShardsAreShownOnALineEach() throws IOException {
    Path tar = shard(EVIL + "\n  /etc: 7 pictures");
    assertThat(Commands.run("data", "inspect", tar.toString()).out())
        .contains("\n  " + SHOWN + "\\n  /etc: 7 pictures")
        .doesNotContain("\u001b", "\r", "\u0007", "\u202e")
        .hasLineCount(2);
    JsonNode json =
        Json.MAPPER.readTree(Commands.run("data", "inspect", "--json", tar.toString()).out());
    assertThat(json.path(0).path("captions").path(0).asText()).startsWith(EVIL);
  }

  @Test
  void errorsShowWhatTheyQuote() throws IOException {
    String model = Path.of("../models/src/test/resources/golden/models/sd15").toString();
    String prompt = EVIL + " a red apple on a table".repeat(30);
    Commands tooLong = Commands.run("generate", "--model", model, "--prompt", prompt);
    assertThat(tooLong.exitCode()).isEqualTo(2);
    assertThat(tooLong.err()).doesNotContain("\u001b", "\u0007").hasLineCount(1);
    Commands wrong = Commands.run("generate", "--prompt=x", "--no" + EVIL + "=3");
    assertThat(wrong.exitCode()).isEqualTo(2);
    assertThat(wrong.err()).contains("\\u001b[31m").doesNotContain("\u001b").hasLineCount(1);
    Path file = Files.createFile(folder.resolve("a\u001b[2J.tar"));
    assertThat(Commands.run("data", "inspect", file.toString()).err())
        .contains("a\\u001b[2J.tar")
        .doesNotContain("\u001b");
  }
}
