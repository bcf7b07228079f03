package org.perflow.hub;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.Optional;
import java.util.UUID;
import org.jspecify.annotations.Nullable;
import org.perflow.io.AtomicFiles;
import org.perflow.io.Inside;

/**
 * One repository in the cache, laid out as Python lays it out:
 *
 * <pre>
 * models--org--name/
 *   refs/main                         the commit that the branch was when it was last fetched
 *   snapshots/COMMIT/unet/config.json -&gt; ../../../blobs/HASH
 *   blobs/HASH                        content, once for all commits
 *   trees/COMMIT.json                 all files of the commit, fetched or not
 * .locks/models--org--name/
 * </pre>
 *
 * @param root the cache
 * @param folder the repository's
 * @param symlinks whether snapshots link to blobs
 */
record HubCache(Path root, Path folder, boolean symlinks) {
  static final String PREFIX = "models--";
  static final String BLOBS = "blobs";
  static final String SNAPSHOTS = "snapshots";
  static final String REFS = "refs";
  static final String TREES = "trees";

  static HubCache of(HubSettings settings, String repository) {
    Path folder = settings.cache().resolve(PREFIX + repository.replace("/", "--"));
    return new HubCache(settings.cache(), folder, settings.symlinks());
  }

  /** What whoever writes to the repository locks. */
  Path locks() {
    return root.resolve(".locks").resolve(folder.getFileName().toString());
  }

  Path snapshot(String commit) {
    return folder.resolve(SNAPSHOTS).resolve(commit);
  }

  /** Where a file or folder of a commit is to be found. */
  Path pointer(String commit, String path) throws IOException {
    return path.isEmpty() ? snapshot(commit) : Inside.path(snapshot(commit), path, folder);
  }

  Path blob(RepositoryFile file) {
    return folder.resolve(BLOBS).resolve(file.hash());
  }

  Path tree(String commit) {
    return folder.resolve(TREES).resolve(commit + ".json");
  }

  /** Whether a file of a commit is there, all of it. */
  boolean has(String commit, RepositoryFile file) throws IOException {
    return isWhole(pointer(commit, file.path()), file);
  }

  static boolean isWhole(Path path, RepositoryFile file) throws IOException {
    return Files.isRegularFile(path) && Files.size(path) == file.size();
  }

  // ---------------------------------------------------------------- revisions

  private Path ref(String revision) throws IOException {
    return Inside.path(folder.resolve(REFS), revision, folder);
  }

  /** The commit that a revision was when it was last fetched; null where it never was. */
  @Nullable String commit(String revision) throws IOException {
    if (HubName.isCommit(revision)) {
      return Files.isDirectory(snapshot(revision)) ? revision : null;
    }
    Path ref = ref(revision);
    String commit = Files.isRegularFile(ref) ? Files.readString(ref).strip() : "";
    return HubName.isCommit(commit) ? commit : null;
  }

  /** Says which commit a branch or tag is. A cache that cannot be written to stays as it is. */
  void keepCommit(String revision, String commit) throws IOException {
    if (!HubName.isCommit(revision) && !commit.equals(commit(revision))) {
      byte[] text = commit.getBytes(StandardCharsets.US_ASCII);
      AtomicFiles.write(ref(revision), out -> out.write(text));
    }
  }

  // ---------------------------------------------------------------- snapshots

  /**
   * Shows a blob in a snapshot: by a link or, where the system has none, as Python does: a fresh
   * blob is moved there, another copied.
   */
  void show(String commit, RepositoryFile file, boolean fresh) throws IOException {
    Path pointer = pointer(commit, file.path());
    Path blob = blob(file);
    Files.createDirectories(pointer.getParent());
    if (Files.exists(pointer, LinkOption.NOFOLLOW_LINKS)) {
      Files.delete(pointer); // it leads nowhere, or its content is damaged
    }
    if (symlinks && link(pointer, blob)) {
      return;
    }
    if (fresh) {
      Files.move(blob, pointer, StandardCopyOption.ATOMIC_MOVE);
    } else {
      Path beside = pointer.resolveSibling("." + UUID.randomUUID() + ".incomplete");
      Files.copy(blob, beside);
      Files.move(beside, pointer, StandardCopyOption.ATOMIC_MOVE);
    }
  }

  /** Relative, so that the cache may be moved. */
  private static boolean link(Path pointer, Path blob) throws IOException {
    try {
      Files.createSymbolicLink(pointer, pointer.getParent().relativize(blob));
      return true;
    } catch (FileAlreadyExistsException e) {
      throw e;
    } catch (UnsupportedOperationException | FileSystemException e) {
      return false; // Windows lets administrators and developers make them
    }
  }

  /**
   * What a path in a cache is called: {@code org/name@0123456789ab:unet}, for whoever reads about
   * it later; empty for other paths.
   */
  static Optional<String> nameOf(Path path) {
    Path absolute = path.toAbsolutePath().normalize();
    for (int i = 2; i < absolute.getNameCount(); i++) {
      String repository = absolute.getName(i - 2).toString();
      String commit = absolute.getName(i).toString();
      if (repository.startsWith(PREFIX)
          && absolute.getName(i - 1).toString().equals(SNAPSHOTS)
          && HubName.isCommit(commit)) {
        String name = repositoryOf(repository) + "@" + commit.substring(0, 12);
        String rest =
            i + 1 == absolute.getNameCount()
                ? ""
                : ":" + absolute.subpath(i + 1, absolute.getNameCount()).toString();
        return Optional.of(name + rest.replace('\\', '/'));
      }
    }
    return Optional.empty();
  }

  /** {@code org/name} of its folder's name. */
  static String repositoryOf(String folder) {
    return folder.substring(PREFIX.length()).replaceFirst("--", "/");
  }
}
