package org.perflow.importing;

import java.util.Collection;
import java.util.List;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.perflow.io.FormatException;
import org.perflow.io.Suggestions;

/** Which column of a table, or key of a file, holds what. */
final class Columns {
  private static final List<String> CAPTIONS =
      List.of("text", "caption", "prompt", "captions", "description");
  private static final List<String> FILES =
      List.of("file_name", "image", "picture", "path", "file", "filename", "image_path", "img");

  private Columns() {}

  /**
   * The column of captions.
   *
   * @param source of the columns, for messages
   * @param named the one that was asked for; null for the usual names
   * @throws FormatException naming those there are
   */
  static String captions(Object source, Collection<String> there, @Nullable String named)
      throws FormatException {
    return column(source, "captions", "--caption-key", CAPTIONS, there, named);
  }

  /** The same of pictures, or of their files. */
  static String pictures(Object source, Collection<String> there, @Nullable String named)
      throws FormatException {
    return column(source, "pictures", "--picture-key", FILES, there, named);
  }

  private static String column(
      Object source,
      String what,
      String option,
      List<String> usual,
      Collection<String> there,
      @Nullable String named)
      throws FormatException {
    if (named != null) {
      if (!there.contains(named)) {
        throw new FormatException(source + ": " + Suggestions.unknown("column", named, there));
      }
      return named;
    }
    Optional<String> found = usual.stream().filter(there::contains).findFirst();
    return found.orElseThrow(
        () ->
            new FormatException(
                "%s: which of its columns (%s) holds the %s? None is called %s; name it with %s"
                    .formatted(
                        source,
                        String.join(", ", there),
                        what,
                        String.join(", ", usual.subList(0, 3)),
                        option)));
  }
}
