package org.perflow.hub;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The environment as Python's huggingface_hub 1.33 reads it (constants.py, utils/_auth.py). */
class HubSettingsTest {
  private static final Path USER = Path.of(System.getProperty("user.home"));

  @TempDir Path folder;

  private static HubSettings of(String... variables) throws IOException {
    Map<String, String> all = new HashMap<>();
    for (int i = 0; i < variables.length; i += 2) {
      all.put(variables[i], variables[i + 1]);
    }
    return HubSettings.of(all::get);
  }

  @Test
  void theCacheIsWherePythonHasIt() throws IOException {
    assertThat(of().cache()).isEqualTo(USER.resolve(".cache/huggingface/hub"));
    assertThat(of("XDG_CACHE_HOME", "/x").cache()).isEqualTo(Path.of("/x/huggingface/hub"));
    assertThat(of("XDG_CACHE_HOME", "/x", "HF_HOME", "/h").cache()).isEqualTo(Path.of("/h/hub"));
    assertThat(of("HF_HOME", "/h", "HUGGINGFACE_HUB_CACHE", "/old").cache())
        .isEqualTo(Path.of("/old"));
    assertThat(of("HF_HOME", "/h", "HUGGINGFACE_HUB_CACHE", "/old", "HF_HUB_CACHE", "/c").cache())
        .isEqualTo(Path.of("/c"));
    assertThat(of("HF_HOME", "~/hf").cache()).isEqualTo(USER.resolve("hf/hub"));
    assertThat(of("DISK", "/big", "HF_HOME", "${DISK}/$DISK/$NONE").cache())
        .isEqualTo(Path.of("/big/big/$NONE/hub"));
  }

  @Test
  void theTokenIsOfTheEnvironmentOrOfALogin() throws IOException {
    String home = folder.toString();
    assertThat(of("HF_HOME", home).token()).isNull();
    Files.writeString(folder.resolve("token"), "hf_of_login\n");
    assertThat(of("HF_HOME", home).token()).isEqualTo("hf_of_login");
    assertThat(of("HF_HOME", home, "HF_TOKEN", " hf_mine\n").token()).isEqualTo("hf_mine");
    assertThat(of("HF_HOME", home, "HUGGING_FACE_HUB_TOKEN", "old").token()).isEqualTo("old");
    assertThat(of("HF_HOME", home, "HF_HUB_DISABLE_IMPLICIT_TOKEN", "1").token()).isNull();
    Path other = Files.writeString(folder.resolve("other"), "hf_other");
    assertThat(of("HF_TOKEN_PATH", other.toString()).token()).isEqualTo("hf_other");
  }

  @Test
  void noTokenIsShown() throws IOException {
    assertThat(of("HF_TOKEN", "hf_secret").toString()).doesNotContain("hf_secret");
    assertThatThrownBy(() -> of("HF_TOKEN", "hf secret"))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("HF_TOKEN")
        .hasMessageNotContaining("secret");
  }

  @Test
  void switchesAreReadAsInPython() throws IOException {
    assertThat(of().offline()).isFalse();
    assertThat(of("HF_HUB_OFFLINE", "1").offline()).isTrue();
    assertThat(of("HF_HUB_OFFLINE", "yes").offline()).isTrue();
    assertThat(of("HF_HUB_OFFLINE", "0", "TRANSFORMERS_OFFLINE", "1").offline()).isFalse();
    assertThat(of("TRANSFORMERS_OFFLINE", "on").offline()).isTrue();
    assertThat(of("HF_HUB_DISABLE_SYMLINKS", "true").symlinks()).isFalse();
  }

  @Test
  void theEndpointIsAnAddress() throws IOException {
    assertThat(of("HF_ENDPOINT", "http://mirror:8080/hub/").endpoint())
        .hasToString("http://mirror:8080/hub");
    for (String wrong : new String[] {"mirror", "ftp://x", "http:/x", "a b"}) {
      assertThatThrownBy(() -> of("HF_ENDPOINT", wrong))
          .isInstanceOf(IllegalArgumentException.class)
          .hasMessageContaining("HF_ENDPOINT is " + wrong);
    }
  }
}
