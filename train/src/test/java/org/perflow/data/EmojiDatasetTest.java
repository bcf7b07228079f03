package org.perflow.data;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.io.Images;
import org.perflow.io.Sample;
import org.perflow.io.ShardReader;

/** On two tiny packages made here, laid where npm's would be. */
class EmojiDatasetTest {
  @TempDir Path folder;

  @BeforeEach
  void packages() throws IOException {
    put(
        "emojibase-data-17.0.0/package/en/data.json",
        """
        [{"label":"regional indicator A","hexcode":"1F1E6"},
         {"label":"Red Apple","hexcode":"1F34E","tags":["red apple","Fruit"],"group":4},
         {"label":"rocket","hexcode":"1F680-FE0F","group":5},
         {"label":"smiling face with sunglasses","hexcode":"1F60E","group":0},
         {"label":"grinning face","tags":["smiling with sunglasses"],"hexcode":"1F600","group":0},
         {"label":"big face","tags":["smiling with sunglasses"],"hexcode":"1F601","group":0},
         {"label":"boy","hexcode":"1F466","group":1},
         {"label":"not drawn","hexcode":"1F999","group":4},
         {"label":"hidden","hexcode":"1F998","group":4}]""");
    put("emojibase-data-17.0.0/package/package.json", "{}");
    for (String style : List.of("fluent-emoji-flat-1.2.6", "twemoji-1.2.5")) {
      String home = "iconify-json-" + style + "/package/";
      put(home + "package.json", "{}");
      put(home + "chars.json", CHARS);
      put(home + "icons.json", ICONS);
      put(home + "info.json", INFO);
    }
  }

  private static final String CHARS =
      """
      {"1f34e":"red-apple","1f680":"rocket","1f60e":"sunglasses","1f600":"grin","1f601":"big","1f466":"boy","1f998":"hidden"}""";
  private static final String ICONS =
      """
      {"width":32,"height":32,"icons":{
        "red-apple":{"body":"<rect x='0' y='0' width='16' height='32' fill='#f00'/>"},
        "rocket":{"body":"<circle cx='8' cy='8' r='4'/>","width":16,"height":16},
        "sunglasses":{"body":"<circle cx='8' cy='8' r='4'/>"},
        "grin":{"body":"<circle cx='8' cy='8' r='6'/>"},
        "big":{"body":"<circle cx='8' cy='8' r='7'/>"},
        "boy":{"body":"<circle cx='8' cy='8' r='4'/>"},
        "hidden":{"body":"","hidden":true}}}""";
  private static final String INFO =
      """
      {"author":{"name":"An Artist","url":"https://example.org"},
       "license":{"title":"MIT","spdx":"MIT","url":"https://example.org/mit"}}""";

  private void put(String name, String content) throws IOException {
    Path file = folder.resolve("packages").resolve(name);
    Files.createDirectories(file.getParent());
    Files.writeString(file, content);
  }

  private EmojiDataset.Summary build(EmojiStyle... styles) throws IOException {
    return EmojiDataset.build(
        folder.resolve("out"), folder.resolve("packages"), List.of(styles), 16, drawn -> {});
  }

  private List<Sample> read(String shard) throws IOException {
    return ShardReader.readAll(List.of(folder.resolve("out").resolve(shard)));
  }

  @Test
  void joinsCaptionsWithDrawingsAndLeavesOutPeople() throws IOException {
    EmojiDataset.Summary summary = build(EmojiStyle.FLUENT_FLAT);
    assertThat(summary.train()).isEqualTo(4);
    Sample apple = read("train-0000.tar").get(0);
    assertThat(apple.key()).isEqualTo("fluent-flat-red-apple");
    assertThat(apple.caption()).isEqualTo("fluent emoji of red apple, fruit");
    assertThat(apple.json().path("label").asText()).isEqualTo("red apple");
    assertThat(apple.json().path("tags")).hasSize(2);
    assertThat(apple.json().path("licence").asText()).isEqualTo("MIT");
    var picture = Images.decode(apple.picture(), "apple");
    assertThat(picture.getWidth()).isEqualTo(16);
    assertThat(picture.getRGB(4, 8) & 0xFFFFFF).isEqualTo(0xFF0000);
    assertThat(picture.getRGB(12, 8) & 0xFFFFFF).isEqualTo(0xFFFFFF);
    assertThat(Files.readString(folder.resolve("out/ATTRIBUTION.md")))
        .contains("An Artist", "MIT", "emojibase-data 17.0.0");
  }

  @Test
  void holdsOutWholeConceptsInEveryStyle() throws IOException {
    build(EmojiStyle.FLUENT_FLAT, EmojiStyle.TWEMOJI);
    Set<String> test = labels("test.tar");
    assertThat(test).containsExactly("smiling face with sunglasses"); // each word is in two others
    assertThat(read("test.tar")).hasSize(2);
    assertThat(labels("train-0000.tar")).doesNotContainAnyElementsOf(test);
  }

  private Set<String> labels(String shard) throws IOException {
    return read(shard).stream()
        .map(sample -> sample.json().path("label").asText())
        .collect(Collectors.toSet());
  }

  @Test
  void theSamePackagesGiveTheSameBytes() throws IOException {
    build(EmojiStyle.FLUENT_FLAT, EmojiStyle.TWEMOJI);
    byte[] first = Files.readAllBytes(folder.resolve("out/train-0000.tar"));
    build(EmojiStyle.FLUENT_FLAT, EmojiStyle.TWEMOJI);
    assertThat(folder.resolve("out/train-0000.tar")).hasBinaryContent(first);
  }

  @Test
  void refusesAPackageWithOtherContent() throws IOException {
    Path packages = Files.createDirectories(folder.resolve("packed"));
    Path tgz = Files.writeString(packages.resolve("emojibase-data-17.0.0.tgz"), "something else");
    assertThatThrownBy(
            () -> EmojiDataset.build(folder, packages, List.of(EmojiStyle.NOTO), 16, n -> {}))
        .isInstanceOf(IOException.class)
        .hasMessageContaining(tgz.toString())
        .hasMessageContaining("SHA-256");
  }
}
