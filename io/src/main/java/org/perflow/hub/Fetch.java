package org.perflow.hub;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.perflow.hub.HubException.Kind;
import org.perflow.io.FolderLock;
import org.perflow.io.Json;

/**
 * One fetch: finds the commit that is meant, its files, those that are needed, those that are
 * missing, and fetches these. What is in the cache is not fetched again, and where all is there and
 * a whole commit is named, nobody is asked.
 */
final class Fetch {
  private final HubSettings settings;
  private final Transfer transfer;
  private final HubName name;
  private final @Nullable String variant;
  private final FetchListener listener;
  private final HubCache cache;
  private @Nullable HubClient client;

  Fetch(
      HubSettings settings,
      Transfer transfer,
      HubName name,
      @Nullable String variant,
      FetchListener listener) {
    this.settings = settings;
    this.transfer = transfer;
    this.name = name;
    this.variant = variant;
    this.listener = listener;
    this.cache = HubCache.of(settings, name.repository());
  }

  /** The folder or file that the name stands for, with all that is needed of it there. */
  Path run() throws IOException {
    String commit = commit();
    RepositoryTree tree = tree(commit);
    NeededFiles needed =
        new NeededFiles(
            name, tree, variant, file -> read(commit, file), file -> cache.has(commit, file));
    NeededFiles.Chosen chosen = needed.choose();
    fetch(commit, chosen.files());
    if (client != null) {
      keep(() -> cache.keepCommit(name.revisionOrMain(), commit));
    }
    return cache.pointer(commit, chosen.path());
  }

  private HubClient client() {
    if (client == null) {
      client = new HubClient(settings, transfer);
    }
    return client;
  }

  // ---------------------------------------------------------------- what there is

  /** As the hub says now or, where it cannot be asked, as it said last. */
  private String commit() throws IOException {
    if (name.isCommit()) {
      return name.revisionOrMain();
    }
    String known = cache.commit(name.revisionOrMain());
    if (settings.offline()) {
      if (known == null) {
        throw offline("nothing of it");
      }
      return known;
    }
    try {
      return client().commit(name);
    } catch (HubException e) {
      if (known == null || e.kind() == Kind.ABSENT) {
        throw e;
      }
      listener.onNote(
          "%s: what was fetched before is used, since the hub could not be asked (%s)"
              .formatted(name, e.getMessage()));
      return known;
    }
  }

  private RepositoryTree tree(String commit) throws IOException {
    RepositoryTree kept = RepositoryTree.read(cache.tree(commit));
    if (kept != null) {
      return kept;
    }
    boolean here = Files.isDirectory(cache.snapshot(commit));
    if (settings.offline()) {
      if (!here) {
        throw offline("nothing of it");
      }
      return RepositoryTree.ofSnapshot(cache.snapshot(commit));
    }
    try {
      RepositoryTree tree = client().tree(name, commit);
      keep(() -> tree.write(cache.tree(commit)));
      return tree;
    } catch (HubException e) {
      if (!here || e.kind() != Kind.UNREACHABLE) {
        throw e;
      }
      return RepositoryTree.ofSnapshot(cache.snapshot(commit));
    }
  }

  private interface Keeping {
    void run() throws IOException;
  }

  /** Notes for the next time. A cache that can only be read is good for reading. */
  private void keep(Keeping notes) throws IOException {
    if (!Files.exists(cache.folder()) || Files.isWritable(cache.folder())) {
      notes.run();
    }
  }

  private JsonNode read(String commit, RepositoryFile file) throws IOException {
    fetch(commit, List.of(file));
    return Json.readObject(cache.pointer(commit, file.path()));
  }

  // ---------------------------------------------------------------- what is missing

  private void fetch(String commit, List<RepositoryFile> needed) throws IOException {
    if (missing(commit, needed).isEmpty()) {
      return;
    }
    if (settings.offline()) {
      throw offline(described(missing(commit, needed)));
    }
    try (FolderLock lock = FolderLock.await(cache.locks(), this::tellWait)) {
      List<RepositoryFile> missing = missing(commit, needed); // another process may have been here
      checkSpace(missing);
      listener.onStart(name.toString(), missing.size(), bytes(missing));
      long before = 0;
      for (RepositoryFile file : missing) {
        fetch(commit, file, before);
        before += file.size();
      }
      listener.onEnd();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new InterruptedIOException(name + ": the fetch was stopped");
    }
  }

  private void tellWait(String owner) {
    listener.onNote("%s is being fetched by another perflow (%s), waiting".formatted(name, owner));
  }

  private List<RepositoryFile> missing(String commit, List<RepositoryFile> needed)
      throws IOException {
    List<RepositoryFile> missing = new ArrayList<>();
    for (RepositoryFile file : needed) {
      if (!cache.has(commit, file)) {
        missing.add(file);
      }
    }
    return missing;
  }

  private void fetch(String commit, RepositoryFile file, long before)
      throws IOException, InterruptedException {
    if (!file.hasHash()) {
      throw new HubException(
          Kind.DAMAGED,
          "%s: the hub announces %s with the hash '%s', which is none"
              .formatted(name, file.path(), file.hash()));
    }
    Path blob = cache.blob(file);
    boolean fresh = !HubCache.isWhole(blob, file);
    if (!fresh) {
      listener.onProgress(before + file.size());
    } else {
      new BlobDownload(
              client(),
              name,
              client().file(name, commit, file.path()),
              file,
              blob,
              transfer,
              done -> listener.onProgress(before + done))
          .run();
    }
    cache.show(commit, file, fresh);
  }

  /** A disk that is too small is told before, not after hours. */
  private void checkSpace(List<RepositoryFile> missing) throws IOException {
    long wanted = 0;
    for (RepositoryFile file : missing) {
      boolean whole = HubCache.isWhole(cache.blob(file), file);
      wanted += whole ? 0 : file.size() - PartialBlob.fetched(cache.blob(file), file.size());
    }
    Files.createDirectories(cache.folder());
    long free = Files.getFileStore(cache.folder()).getUsableSpace();
    if (wanted > free) {
      throw new HubException(
          Kind.NO_SPACE,
          "%s takes %s more, and the disk of %s has %s left: make room (perflow models list, rm) or name another folder with HF_HOME"
              .formatted(name, Bytes.text(wanted), cache.root(), Bytes.text(free)));
    }
  }

  private static long bytes(List<RepositoryFile> files) {
    return files.stream().mapToLong(RepositoryFile::size).sum();
  }

  private static String described(List<RepositoryFile> missing) {
    return missing.stream()
        .map(file -> "%s (%s)".formatted(file.path(), Bytes.text(file.size())))
        .collect(Collectors.joining(", ", "all but ", ""));
  }

  private HubException offline(String there) {
    return new HubException(
        Kind.OFFLINE,
        "%s: the cache %s has %s, and HF_HUB_OFFLINE forbids to ask the hub: fetch it once without that (perflow models fetch %s), or copy the cache of a machine that has it"
            .formatted(name, cache.root(), there, name));
  }
}
