package org.perflow.hub;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.perflow.io.AtomicFiles;
import org.perflow.io.FolderLock;

/**
 * A repository in the cache.
 *
 * @param repository {@code org/name}
 * @param folder where it lies
 * @param bytes on disk; content that several revisions share counts once
 * @param revisions that are there
 * @param incomplete files whose fetch was cut off, or whose content is gone, with how much is there
 */
public record CachedModel(
    String repository, Path folder, long bytes, List<Revision> revisions, List<String> incomplete) {

  /**
   * One commit of it.
   *
   * @param commit its hash
   * @param names branches and tags that were this commit when they were last fetched
   * @param folder with its files
   * @param files how many are there
   * @param bytes of these
   */
  public record Revision(String commit, List<String> names, Path folder, int files, long bytes) {}

  /** All of a cache, by name. */
  static List<CachedModel> list(HubSettings settings) throws IOException {
    List<CachedModel> models = new ArrayList<>();
    for (Path folder : content(settings.cache())) {
      String name = folder.getFileName().toString();
      if (name.startsWith(HubCache.PREFIX) && isFolder(folder)) {
        models.add(of(folder, HubCache.repositoryOf(name)));
      }
    }
    return models;
  }

  private static CachedModel of(Path folder, String repository) throws IOException {
    Map<String, List<String>> names = new HashMap<>();
    Path refs = folder.resolve(HubCache.REFS);
    for (Path ref : files(refs)) {
      String name = refs.relativize(ref).toString().replace('\\', '/');
      names.computeIfAbsent(Files.readString(ref).strip(), any -> new ArrayList<>()).add(name);
    }
    List<Revision> revisions = new ArrayList<>();
    List<String> incomplete = new ArrayList<>(cutOff(folder));
    for (Path snapshot : content(folder.resolve(HubCache.SNAPSHOTS))) {
      String commit = snapshot.getFileName().toString();
      int count = 0;
      long bytes = 0;
      for (Path file : files(snapshot)) {
        if (Files.exists(file)) {
          count++;
          bytes += Files.size(file);
        } else {
          incomplete.add(snapshot.relativize(file) + " (its content is gone)");
        }
      }
      revisions.add(
          new Revision(commit, names.getOrDefault(commit, List.of()), snapshot, count, bytes));
    }
    return new CachedModel(repository, folder, bytesOf(folder), revisions, incomplete);
  }

  /** Of this program's fetches and of Python's. */
  private static List<String> cutOff(Path folder) throws IOException {
    List<String> cutOff = new ArrayList<>();
    for (Path blob : content(folder.resolve(HubCache.BLOBS))) {
      String name = blob.getFileName().toString();
      if (name.endsWith(".incomplete")) {
        String hash = name.substring(0, name.indexOf('.'));
        RepositoryFile file = named(folder, hash);
        long there =
            name.endsWith(PartialBlob.SUFFIX) && file != null
                ? PartialBlob.fetched(blob.resolveSibling(hash), file.size())
                : Files.size(blob);
        cutOff.add(
            file == null
                ? "%s (%s of it)".formatted(hash, Bytes.text(there))
                : "%s (%s of %s)"
                    .formatted(file.path(), Bytes.text(there), Bytes.text(file.size())));
      }
    }
    return cutOff;
  }

  private static @Nullable RepositoryFile named(Path folder, String hash) throws IOException {
    for (Path file : content(folder.resolve(HubCache.TREES))) {
      RepositoryTree tree = RepositoryTree.read(file);
      for (RepositoryFile each : tree == null ? List.<RepositoryFile>of() : tree.files().values()) {
        if (each.hash().equals(hash)) {
          return each;
        }
      }
    }
    return null;
  }

  // ---------------------------------------------------------------- removing

  /**
   * Removes all of it, or one revision with the content that no other one shares; nothing outside
   * its folder. Refuses while somebody writes to it.
   *
   * @param name of this repository; without a revision, all
   * @return what was removed, a line each
   */
  List<String> remove(HubSettings settings, HubName name) throws IOException {
    HubCache cache = HubCache.of(settings, name.repository());
    try (FolderLock lock = FolderLock.take(cache.locks())) {
      List<Revision> chosen =
          revisions.stream().filter(each -> isMeant(each, name.revision())).toList();
      if (name.revision() != null && chosen.isEmpty()) {
        throw new HubException(
            HubException.Kind.ABSENT,
            "%s: the cache has no such revision; it has %s"
                .formatted(name, revisions.stream().map(CachedModel::described).toList()));
      }
      if (chosen.size() == revisions.size()) {
        AtomicFiles.deleteDirectory(folder);
        return List.of("%s: %s in %s".formatted(repository, Bytes.text(bytes), folder));
      }
      long before = bytesOf(folder);
      for (Revision revision : chosen) {
        remove(revision);
      }
      String freed = Bytes.text(before - bytesOf(folder));
      return chosen.stream()
          .map(each -> "%s: revision %s, %s".formatted(repository, described(each), freed))
          .toList();
    }
  }

  private static boolean isMeant(Revision revision, @Nullable String name) {
    return name == null
        || revision.names().contains(name)
        || (name.length() >= 7 && revision.commit().startsWith(name));
  }

  private static String described(Revision revision) {
    String commit = revision.commit().substring(0, Math.min(12, revision.commit().length()));
    return revision.names().isEmpty()
        ? commit
        : String.join(", ", revision.names()) + " (" + commit + ")";
  }

  private void remove(Revision revision) throws IOException {
    AtomicFiles.deleteDirectory(revision.folder());
    for (String ref : revision.names()) {
      Files.deleteIfExists(folder.resolve(HubCache.REFS).resolve(ref));
    }
    Files.deleteIfExists(folder.resolve(HubCache.TREES).resolve(revision.commit() + ".json"));
    Set<Path> used = new TreeSet<>();
    for (Path file : files(folder.resolve(HubCache.SNAPSHOTS))) {
      if (Files.isSymbolicLink(file)) {
        used.add(file.resolveSibling(Files.readSymbolicLink(file)).normalize());
      }
    }
    for (Path blob : files(folder.resolve(HubCache.BLOBS))) {
      if (!used.contains(blob.normalize()) && !blob.toString().endsWith(".incomplete")) {
        Files.delete(blob);
      }
    }
  }

  // ---------------------------------------------------------------- folders

  private static boolean isFolder(Path path) {
    return Files.isDirectory(path, LinkOption.NOFOLLOW_LINKS);
  }

  private static List<Path> content(Path folder) throws IOException {
    if (!isFolder(folder)) {
      return List.of();
    }
    try (Stream<Path> all = Files.list(folder)) {
      return all.sorted().toList();
    }
  }

  /** All files and links below a folder; no link is followed. */
  private static List<Path> files(Path folder) throws IOException {
    if (!isFolder(folder)) {
      return List.of();
    }
    try (Stream<Path> all = Files.walk(folder)) {
      return all.filter(path -> !isFolder(path)).sorted().toList();
    }
  }

  private static long bytesOf(Path folder) throws IOException {
    long bytes = 0;
    for (Path file : files(folder)) {
      if (Files.isRegularFile(file, LinkOption.NOFOLLOW_LINKS)) {
        bytes += Files.size(file);
      }
    }
    return bytes;
  }
}
