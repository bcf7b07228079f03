package org.perflow.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class InsideTest {
  @TempDir Path temp;
  private Path model;

  @BeforeEach
  void aModelBesideASecret() throws IOException {
    model = Files.createDirectories(temp.resolve("model"));
    Files.createDirectories(model.resolve("vae/deep"));
    Files.writeString(model.resolve("vae/config.json"), "{}");
    Files.writeString(Files.createDirectory(temp.resolve("secret")).resolve("key"), "SECRET");
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "",
        ".",
        "..",
        "../secret",
        "/etc",
        "a/b",
        "a\\b",
        "..\\secret",
        "C:",
        "C:\\x",
        "a\0b",
        "a\nb",
        "\u001b[2J",
        "x:stream",
        "~/../x"
      })
  void namesThatAreNoNameAreRefused(String name) {
    assertThatThrownBy(() -> Inside.child(model, name, "index.json"))
        .isInstanceOf(FormatException.class)
        .hasMessage("index.json: '" + name + "' is no name of a file or folder beside it");
  }

  @ParameterizedTest
  @ValueSource(strings = {"../x", "a/../../x", "/x", "a//b", "a/", "a/./b", "a\\..\\x/b"})
  void pathsThatMayLeadOutAreRefused(String names) {
    assertThatThrownBy(() -> Inside.path(model, names, "x.safetensors"))
        .isInstanceOf(FormatException.class)
        .hasMessageStartingWith("x.safetensors: '");
  }

  @Test
  void plainNamesAreTaken() throws IOException {
    assertThat(Inside.child(model, "vae", "x")).isEqualTo(model.resolve("vae"));
    assertThat(Inside.child(model, "..a .b-ü", "x")).isEqualTo(model.resolve("..a .b-ü"));
    assertThat(Inside.path(model, "vae/config.json", "x"))
        .isEqualTo(model.resolve("vae/config.json"));
  }

  @Test
  void linksMayGoAnywhereInside() throws IOException {
    Files.createSymbolicLink(model.resolve("vae/same.json"), Path.of("config.json"));
    Files.createSymbolicLink(model.resolve("other"), model.resolve("vae"));
    assertThat(Inside.tree(model, model.resolve("other")))
        .containsExactly(
            model.resolve("other"),
            model.resolve("other/config.json"),
            model.resolve("other/deep"),
            model.resolve("other/same.json"));
  }

  @Test
  void linksThatLeaveAreNamed() throws IOException {
    Path link = model.resolve("vae/notes.txt");
    Files.createSymbolicLink(link, temp.resolve("secret/key"));
    assertThatThrownBy(() -> Inside.tree(model, model.resolve("vae")))
        .isInstanceOf(FormatException.class)
        .hasMessageContainingAll(link + " is a link that leaves " + model, "secret/key");
    Files.delete(link);
    Files.createSymbolicLink(model.resolve("all"), temp.resolve("secret"));
    assertThatThrownBy(() -> Inside.tree(model, model.resolve("all")))
        .hasMessageContaining("all is a link that leaves " + model);
  }

  @Test
  void circlesAndDeadLinksAreNamed() throws IOException {
    Path up = model.resolve("vae/deep/up");
    Files.createSymbolicLink(up, Path.of("..")); // what Files.walk calls FileSystemLoopException
    assertThatThrownBy(() -> Inside.tree(model, model.resolve("vae")))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining(up + " is a link that goes in a circle");
    Files.delete(up);
    Files.createSymbolicLink(up, Path.of("up"));
    assertThatThrownBy(() -> Inside.tree(model, model.resolve("vae")))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining(up + " is a link that cannot be followed");
    Files.delete(up);
    Files.createSymbolicLink(up, Path.of("nowhere"));
    assertThatThrownBy(() -> Inside.tree(model, model.resolve("vae")))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining(up + " is a link that leads nowhere");
  }

  /** Twice two to the 30th ways through one folder. */
  @Test
  void linksCannotUnfoldAFolderWithoutEnd() throws IOException {
    for (int i = 0; i < 30; i++) {
      Path level = Files.createDirectories(model.resolve("level" + i));
      Files.createSymbolicLink(level.resolve("a"), Path.of("../level" + (i + 1)));
      Files.createSymbolicLink(level.resolve("b"), Path.of("../level" + (i + 1)));
    }
    Files.createDirectories(model.resolve("level30"));
    assertThatThrownBy(() -> Inside.tree(model, model.resolve("level0")))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("holds over 10000 files");
  }

  /** As the hub's clients keep models: snapshots of links to blobs. */
  @Test
  void theHubsCacheIsOneFolder() throws IOException {
    Path snapshot = Files.createDirectories(temp.resolve("models--a--b/snapshots/abc/unet"));
    Path blob = Files.createDirectories(temp.resolve("models--a--b/blobs")).resolve("sha");
    Files.writeString(blob, "{}");
    Path link = snapshot.resolve("config.json");
    Files.createSymbolicLink(link, Path.of("../../../blobs/sha"));
    assertThat(Inside.tree(snapshot.getParent(), snapshot)).containsExactly(snapshot, link);
    Files.delete(link);
    Files.createSymbolicLink(link, temp.resolve("secret/key"));
    assertThatThrownBy(() -> Inside.tree(snapshot.getParent(), snapshot))
        .hasMessageContaining("is a link that leaves");
  }
}
