package org.perflow.importing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.stream.Collectors;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.io.FormatException;

/** Each way in which folders and tables say what their pictures show. */
class CaptionSourcesTest {
  @TempDir private Path temp;
  private PhotoFolder photos;

  @BeforeEach
  void pictures() throws IOException {
    photos = new PhotoFolder(temp.resolve("photos"));
    for (String name : new String[] {"a.png", "b.png", "deep/red_ripe__apple.png"}) {
      photos.put(name, PhotoFolder.encoded(PhotoFolder.picture(9, 9, 1), "png"));
    }
  }

  private Listing list(Path source, ImportOptions options) throws IOException {
    Listing listing = new Listing();
    Sources.of(source, 1, options).list(listing);
    return listing;
  }

  private Map<String, String> captions(ImportOptions options) throws IOException {
    return captions(list(photos.path(), options));
  }

  private static Map<String, String> captions(Listing listing) {
    return listing.entries().stream().collect(Collectors.toMap(Entry::name, Entry::caption));
  }

  @Test
  void ofHuggingFaceInLines() throws IOException {
    photos
        .put(
            "metadata.jsonl",
            """
            {"file_name": "a.png", "text": "an a", "width": 9}
            {"file_name": "deep/red_ripe__apple.png", "text": " an\\n apple "}

            {"file_name": "gone.png", "text": "not there"}
            {"file_name": broken
            """)
        .put("b.txt", "beside comes first");
    Listing listing = list(photos.path(), ImportOptions.DEFAULTS);
    assertThat(captions(listing))
        .isEqualTo(
            Map.of(
                "photos/a.png", "an a",
                "photos/b.png", "beside comes first",
                "photos/deep/red_ripe__apple.png", "an apple"));
    assertThat(listing.leftOut())
        .extracting(LeftOut::name)
        .containsExactly("photos/metadata.jsonl, line 5", "photos/gone.png");
    assertThat(listing.leftOut().get(1).reason())
        .isEqualTo("not there, but named in photos/metadata.jsonl, line 4");
  }

  @Test
  void ofHuggingFaceAsATableInADeeperFolder() throws IOException {
    photos.put(
        "deep/metadata.csv",
        "\uFEFFfile_name,prompt,author\r\nred_ripe__apple.png,\"an apple, \"\"ripe\"\"\",me\r\n");
    assertThat(captions(ImportOptions.DEFAULTS))
        .isEqualTo(Map.of("photos/deep/red_ripe__apple.png", "an apple, \"ripe\""));
    assertThat(captions(ImportOptions.DEFAULTS.withCaptionKey("author")))
        .isEqualTo(Map.of("photos/deep/red_ripe__apple.png", "me"));
    assertThatThrownBy(() -> captions(ImportOptions.DEFAULTS.withCaptionKey("titel")))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("unknown column 'titel'")
        .hasMessageContaining("author");
  }

  @Test
  void ofKohya() throws IOException {
    photos.put(
        "captions.json",
        """
        {"a.png": "an a",
         "b": {"caption": "a b", "tags": "letter, latin"},
         "deep/red_ripe__apple": {"tags": "apple, red"}}
        """);
    assertThat(captions(ImportOptions.DEFAULTS))
        .isEqualTo(
            Map.of(
                "photos/a.png", "an a",
                "photos/b.png", "a b, letter, latin",
                "photos/deep/red_ripe__apple.png", "apple, red"));
  }

  @Test
  void ofFileNames() throws IOException {
    assertThat(captions(ImportOptions.DEFAULTS.withCaptions(ImportOptions.Captions.FILENAME)))
        .containsEntry("photos/deep/red_ripe__apple.png", "red ripe apple")
        .containsEntry("photos/a.png", "a");
  }

  @Test
  void oneForAll() throws IOException {
    photos.put("a.txt", "not this");
    assertThat(captions(ImportOptions.DEFAULTS.withCaption("a letter")).values())
        .containsOnly("a letter")
        .hasSize(3);
  }

  @Test
  void ofATableOfPaths() throws IOException {
    Path table = temp.resolve("lists/pictures.tsv");
    new PhotoFolder(temp.resolve("lists"))
        .put(
            "pictures.tsv",
            "path\tcaption\n../photos/a.png\tan a\n%s\ta b\ngone.png\tgone\n../photos/a.png\t\n"
                .formatted(photos.path().resolve("b.png").toAbsolutePath()));
    Listing listing = list(table, ImportOptions.DEFAULTS);
    assertThat(listing.entries()).extracting(Entry::caption).containsExactly("an a", "a b");
    assertThat(listing.leftOut()).extracting(LeftOut::reason).contains("not there");
    assertThat(listing.leftOut()).hasSize(2);
    assertThat(list(table, ImportOptions.DEFAULTS.withCaption("one")).entries()).hasSize(3);
  }

  @Test
  void aTableWithoutCaptionsSaysWhichColumnsItHas() throws IOException {
    new PhotoFolder(temp).put("t.csv", "path,titel\na.png,x\n");
    assertThatThrownBy(() -> list(temp.resolve("t.csv"), ImportOptions.DEFAULTS))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("path, titel")
        .hasMessageContaining("--caption-key");
  }
}
