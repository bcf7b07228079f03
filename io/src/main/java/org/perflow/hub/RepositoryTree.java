package org.perflow.hub;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collection;
import java.util.List;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.perflow.io.Json;

/**
 * The files of one commit by their paths. A commit never changes, so its tree is kept beside the
 * snapshots, in the form that Python gives {@code trees/COMMIT.json}.
 */
record RepositoryTree(SortedMap<String, RepositoryFile> files) {
  private static final int VERSION = 1;

  /** Of the entries of the hub's answers. */
  static RepositoryTree of(Collection<JsonNode> entries) {
    SortedMap<String, RepositoryFile> files = new TreeMap<>();
    for (JsonNode entry : entries) {
      if (entry.path("type").asText().equals("file")) {
        JsonNode large = entry.path("lfs");
        String path = entry.path("path").asText();
        files.put(
            path,
            new RepositoryFile(
                path,
                (large.isObject() ? large : entry).path("size").asLong(),
                entry.path("oid").asText(),
                large.isObject() ? large.path("oid").asText() : null));
      }
    }
    return new RepositoryTree(files);
  }

  /** What a snapshot holds that came without a tree, from an older Python. */
  static RepositoryTree ofSnapshot(Path snapshot) throws IOException {
    SortedMap<String, RepositoryFile> files = new TreeMap<>();
    try (Stream<Path> all = Files.walk(snapshot)) {
      for (Path file : all.filter(Files::isRegularFile).toList()) {
        String path = snapshot.relativize(file).toString().replace('\\', '/');
        files.put(path, new RepositoryFile(path, Files.size(file), "", null));
      }
    }
    return new RepositoryTree(files);
  }

  /** As kept in a file; null where there is none, or one of another version. */
  static @Nullable RepositoryTree read(Path file) throws IOException {
    if (!Files.exists(file)) {
      return null;
    }
    JsonNode json = Json.read(file);
    if (json.path("format_version").asInt() != VERSION) {
      return null;
    }
    SortedMap<String, RepositoryFile> files = new TreeMap<>();
    for (var entry : json.path("files").properties()) {
      JsonNode about = entry.getValue();
      boolean large = about.hasNonNull("lfs_sha256");
      files.put(
          entry.getKey(),
          new RepositoryFile(
              entry.getKey(),
              about.path(large ? "lfs_size" : "size").asLong(),
              about.path("blob_id").asText(),
              large ? about.path("lfs_sha256").asText() : null));
    }
    return new RepositoryTree(files);
  }

  /** Keeps it. */
  void write(Path file) throws IOException {
    ObjectNode json = Json.MAPPER.createObjectNode().put("format_version", VERSION);
    ObjectNode entries = json.putObject("files");
    for (RepositoryFile each : files.values()) {
      ObjectNode entry = entries.putObject(each.path());
      entry.put("size", each.size()).put("blob_id", each.gitHash());
      if (each.sha256() != null) {
        entry.put("lfs_sha256", each.sha256()).put("lfs_size", each.size());
      }
    }
    Json.write(file, json);
  }

  /** The names of the files right in a folder, {@code ""} or one that ends in a slash. */
  List<String> namesIn(String folder) {
    return files.keySet().stream()
        .filter(path -> path.startsWith(folder) && path.indexOf('/', folder.length()) < 0)
        .map(path -> path.substring(folder.length()))
        .toList();
  }
}
