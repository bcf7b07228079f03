package org.perflow.io;

import java.nio.file.Files;
import java.nio.file.Path;

/** Where the models and data that come with the program lie. */
public final class Installation {
  private Installation() {}

  /** The folder of the launcher, which names it in {@code PERFLOW_HOME}; else the current one. */
  public static Path home() {
    String home =
        System.getProperty("perflow.home", System.getenv().getOrDefault("PERFLOW_HOME", ""));
    return Path.of(home);
  }

  /** The teacher that draws emoji. */
  public static Path teacher() {
    return home().resolve("models/emoji-64");
  }

  /** Its student in four steps. */
  public static Path student() {
    return home().resolve("models/emoji-64-perflow");
  }

  /** The network whose features pictures are compared by. */
  public static Path features() {
    return home().resolve("models/emoji-features");
  }

  /** The captioned pictures that teacher and student learned from. */
  public static Path data() {
    return home().resolve("data/emoji-64");
  }

  /** {@code name} as given where there is such a file, else as it came with the program. */
  public static Path find(String name) {
    Path here = Path.of(name);
    return Files.exists(here) ? here : home().resolve(name);
  }

  /** How a config names {@code path}: relative to home where it came with the program. */
  public static String name(Path path) {
    Path absolute = path.toAbsolutePath().normalize();
    Path home = home().toAbsolutePath().normalize();
    return absolute.startsWith(home) ? home.relativize(absolute).toString() : path.toString();
  }

  /** Where packages from registries are kept. */
  public static Path cache() {
    String cache = System.getenv("XDG_CACHE_HOME");
    return (cache == null || cache.isEmpty()
            ? Path.of(System.getProperty("user.home"), ".cache")
            : Path.of(cache))
        .resolve("perflow");
  }
}
