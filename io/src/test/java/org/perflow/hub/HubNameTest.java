package org.perflow.hub;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

class HubNameTest {
  @ParameterizedTest
  @CsvSource({
    "org/name, org/name, main, ''",
    "org/name@v1.0, org/name, v1.0, ''",
    "org/name@refs/pr/1:unet, org/name, refs/pr/1, unet",
    "a_b/c.d-e:loras/x y.safetensors, a_b/c.d-e, main, loras/x y.safetensors",
  })
  void namesSayRepositoryRevisionAndPath(
      String text, String repository, String revision, String path) {
    HubName name = HubName.parse(text).orElseThrow();
    assertThat(name.repository()).isEqualTo(repository);
    assertThat(name.revisionOrMain()).isEqualTo(revision);
    assertThat(name.path()).isEqualTo(path);
    assertThat(name).hasToString(text);
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "name",
        "a/b/c",
        "/a/b",
        "./a",
        "../a",
        "a/..",
        "~/a",
        "C:\\a/b",
        "a--b/c",
        "a/b.git",
        "a/.hidden",
        "a/b ",
        "a//b",
        "https://x/y",
        ""
      })
  void pathsAreNoNames(String text) {
    assertThat(HubName.parse(text)).isEmpty();
  }

  @ParameterizedTest
  @ValueSource(strings = {"a/b@../c", "a/b:../c", "a/b:/etc/passwd", "a/b:x//y", "a/b@x/../../y"})
  void namesThatWouldLeaveTheCacheAreRefused(String text) {
    assertThatThrownBy(() -> HubName.parse(text))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining(text)
        .hasMessageContaining("org/name[@revision][:subfolder-or-file]");
  }

  @Test
  void onlyWholeCommitsNeverChange() {
    assertThat(HubName.parse("a/b@" + "0123456789".repeat(4)).orElseThrow().isCommit()).isTrue();
    assertThat(HubName.parse("a/b@0123456").orElseThrow().isCommit()).isFalse();
  }
}
