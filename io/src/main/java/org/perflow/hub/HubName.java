package org.perflow.hub;

import java.util.Arrays;
import java.util.Objects;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * The name of something on the hub: {@code org/name[@revision][:subfolder-or-file]}, such as {@code
 * runwayml/stable-diffusion-v1-5@main:unet}.
 *
 * @param repository {@code org/name}
 * @param revision branch, tag or commit; null = none is named
 * @param path folder or file in it, with slashes; empty = all that is needed of the repository
 */
public record HubName(String repository, @Nullable String revision, String path) {
  private static final String DEFAULT_REVISION = "main";
  private static final int LONGEST = 96;

  private static final Pattern FORM =
      Pattern.compile("([\\w.-]+/[\\w.-]+)(?:@([^:@\\s\\\\]+))?(?::([^:\\\\\\p{Cntrl}]+))?");
  private static final Pattern PART = Pattern.compile("\\w([\\w.-]*\\w)?");
  private static final Pattern COMMIT = Pattern.compile("[0-9a-f]{40}");

  public HubName {
    if (!isRepository(repository)
        || (revision != null && !isPath(revision))
        || (!path.isEmpty() && !isPath(path))) {
      throw new IllegalArgumentException(
          "'%s%s%s' is no name of the hub, expected org/name[@revision][:subfolder-or-file]"
              .formatted(
                  repository,
                  revision == null ? "" : "@" + revision,
                  path.isEmpty() ? "" : ":" + path));
    }
  }

  /** {@code text} as a name; empty where it has another form, as paths of files do. */
  public static Optional<HubName> parse(String text) {
    Matcher form = FORM.matcher(text);
    if (!form.matches() || !isRepository(form.group(1))) {
      return Optional.empty();
    }
    return Optional.of(
        new HubName(form.group(1), form.group(2), Objects.requireNonNullElse(form.group(3), "")));
  }

  private static boolean isRepository(String id) {
    String[] parts = id.split("/", -1);
    return parts.length == 2
        && Arrays.stream(parts).allMatch(part -> PART.matcher(part).matches())
        && id.length() <= LONGEST
        && !id.contains("--")
        && !id.contains("..")
        && !id.endsWith(".git");
  }

  /** Plain names with slashes between them: it becomes a path of the cache. */
  private static boolean isPath(String path) {
    return Arrays.stream(path.split("/", -1))
        .noneMatch(name -> name.isEmpty() || name.equals(".") || name.equals(".."));
  }

  /** The revision, {@code main} where none is named. */
  public String revisionOrMain() {
    return revision == null ? DEFAULT_REVISION : revision;
  }

  /** Whether the revision is a whole commit, whose content never changes. */
  boolean isCommit() {
    return isCommit(revisionOrMain());
  }

  static boolean isCommit(String revision) {
    return COMMIT.matcher(revision).matches();
  }

  /** As it is written. */
  @Override
  public String toString() {
    return repository
        + (revision == null ? "" : "@" + revision)
        + (path.isEmpty() ? "" : ":" + path);
  }
}
