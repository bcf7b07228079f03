package org.perflow.hub;

import java.io.IOException;
import java.net.URI;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.function.Function;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * Where the hub is, where what is fetched is kept, and who asks.
 *
 * @param endpoint of the hub or a mirror, without a slash at its end
 * @param cache folder of the repositories
 * @param token of the user; null = nobody's. It is sent to the endpoint and nowhere else.
 * @param offline whether no connection may be made
 * @param symlinks whether snapshots link to their content, as far as the system can, or hold it
 */
public record HubSettings(
    URI endpoint, Path cache, @Nullable String token, boolean offline, boolean symlinks) {
  private static final String PUBLIC = "https://huggingface.co";
  private static final Set<String> TRUE = Set.of("1", "ON", "YES", "TRUE");
  private static final Pattern TOKEN = Pattern.compile("[\\x21-\\x7e]+");
  private static final Pattern VARIABLE = Pattern.compile("\\$(?:(\\w+)|\\{(\\w+)})");

  public HubSettings {
    String scheme = String.valueOf(endpoint.getScheme());
    if (!scheme.matches("https?") || endpoint.getHost() == null) {
      throw new IllegalArgumentException(
          "HF_ENDPOINT is %s, expected an address such as %s".formatted(endpoint, PUBLIC));
    }
    if (token != null && !TOKEN.matcher(token).matches()) { // which is not shown
      throw new IllegalArgumentException("HF_TOKEN holds characters that no token has");
    }
  }

  /**
   * Told by environment variables as Python's huggingface_hub is: {@code HF_HOME}, {@code
   * HF_HUB_CACHE}, {@code HF_ENDPOINT}, {@code HF_TOKEN}, {@code HF_TOKEN_PATH}, {@code
   * HF_HUB_OFFLINE}, {@code HF_HUB_DISABLE_SYMLINKS}, {@code HF_HUB_DISABLE_IMPLICIT_TOKEN}, {@code
   * XDG_CACHE_HOME}, and older names of these. A Java system property of that name comes first.
   *
   * @throws IllegalArgumentException naming the variable whose value cannot be
   */
  public static HubSettings ofEnvironment() throws IOException {
    return of(name -> System.getProperty(name, System.getenv(name)));
  }

  static HubSettings of(Function<String, @Nullable String> variables) throws IOException {
    Variables told = new Variables(variables);
    Path caches =
        told.path("XDG_CACHE_HOME").orElse(Path.of(System.getProperty("user.home"), ".cache"));
    Path home = told.path("HF_HOME").orElse(caches.resolve("huggingface"));
    Path cache =
        told.path("HF_HUB_CACHE")
            .or(() -> told.path("HUGGINGFACE_HUB_CACHE"))
            .orElse(home.resolve("hub"));
    String endpoint = told.text("HF_ENDPOINT").orElse(PUBLIC).replaceFirst("/+$", "");
    return new HubSettings(
        address(endpoint),
        cache.toAbsolutePath().normalize(),
        token(told, home),
        told.isTrue("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"),
        !told.isTrue("HF_HUB_DISABLE_SYMLINKS"));
  }

  private static URI address(String endpoint) {
    try {
      return URI.create(endpoint);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException("HF_ENDPOINT is " + endpoint + ", no address", e);
    }
  }

  private static @Nullable String token(Variables told, Path home) throws IOException {
    if (told.isTrue("HF_HUB_DISABLE_IMPLICIT_TOKEN")) {
      return null;
    }
    Optional<String> said = told.text("HF_TOKEN").or(() -> told.text("HUGGING_FACE_HUB_TOKEN"));
    Path file = told.path("HF_TOKEN_PATH").orElse(home.resolve("token"));
    if (said.isEmpty() && Files.isRegularFile(file)) {
      said = Optional.of(Files.readString(file));
    }
    return said.map(String::strip).filter(token -> !token.isEmpty()).orElse(null);
  }

  /** The variables of an environment, as Python reads them. */
  private record Variables(Function<String, @Nullable String> all) {
    Optional<String> text(String name) {
      return Optional.ofNullable(all.apply(name)).map(String::strip).filter(s -> !s.isEmpty());
    }

    /** The first that is set counts. */
    boolean isTrue(String... names) {
      for (String name : names) {
        Optional<String> said = text(name);
        if (said.isPresent()) {
          return TRUE.contains(said.get().toUpperCase(Locale.ROOT));
        }
      }
      return false;
    }

    Optional<Path> path(String name) {
      return text(name).map(this::expanded).map(Path::of);
    }

    /** With {@code ~} and variables in it replaced. */
    private String expanded(String path) {
      String home = Matcher.quoteReplacement(System.getProperty("user.home"));
      return VARIABLE
          .matcher(path.replaceFirst("^~(?=$|[/\\\\])", home))
          .replaceAll(
              found -> {
                String name = found.group(1) == null ? found.group(2) : found.group(1);
                return Matcher.quoteReplacement(text(name).orElse(found.group()));
              });
    }
  }

  /** All but the token, so that no log has it. */
  @Override
  public String toString() {
    return "HubSettings[endpoint=%s, cache=%s, token=%s, offline=%s, symlinks=%s]"
        .formatted(endpoint, cache, token == null ? "none" : "***", offline, symlinks);
  }
}
