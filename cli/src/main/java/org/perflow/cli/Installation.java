package org.perflow.cli;

import java.nio.file.Path;

/** Where the models and data that come with the program lie. */
final class Installation {
  private Installation() {}

  /** The folder of the launcher, which names it in {@code PERFLOW_HOME}; else the current one. */
  static Path home() {
    String home =
        System.getProperty("perflow.home", System.getenv().getOrDefault("PERFLOW_HOME", ""));
    return Path.of(home);
  }

  static Path teacher() {
    return home().resolve("models/emoji-64");
  }

  static Path student() {
    return home().resolve("models/emoji-64-perflow");
  }

  static Path features() {
    return home().resolve("models/emoji-features");
  }

  static Path data() {
    return home().resolve("data/emoji-64");
  }

  /** How a config names {@code path}: relative to home where it came with the program. */
  static String name(Path path) {
    Path absolute = path.toAbsolutePath().normalize();
    Path home = home().toAbsolutePath().normalize();
    return absolute.startsWith(home) ? home.relativize(absolute).toString() : path.toString();
  }

  /** Where packages from registries are kept. */
  static Path cache() {
    String cache = System.getenv("XDG_CACHE_HOME");
    return (cache == null || cache.isEmpty()
            ? Path.of(System.getProperty("user.home"), ".cache")
            : Path.of(cache))
        .resolve("perflow");
  }
}
