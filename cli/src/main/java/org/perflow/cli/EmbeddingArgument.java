package org.perflow.cli;

import java.nio.file.Files;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;

/** {@code --embedding} as it is written: {@code cat-toy.pt} or {@code <toy>=cat-toy.pt}. */
record EmbeddingArgument(String file, @Nullable String placeholder) {
  static EmbeddingArgument parse(String text) {
    int equals = text.indexOf('=');
    boolean named = equals > 0 && !Files.exists(Path.of(text));
    return named
        ? new EmbeddingArgument(text.substring(equals + 1), text.substring(0, equals))
        : new EmbeddingArgument(text, null);
  }
}
