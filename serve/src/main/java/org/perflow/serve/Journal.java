package org.perflow.serve;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Map;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.perflow.io.AtomicFiles;
import org.perflow.io.FolderLock;
import org.perflow.io.Json;

/**
 * Accepted jobs in a folder, so that they survive the process, however it ends: {@code ID.json}
 * what was asked, before the client is told that it was accepted, and {@code ID.done} its pictures,
 * all at once, before anybody sees the job done. What was being drawn is drawn again, by the same
 * seeds; what is done is not. Thread-safe.
 */
final class Journal implements AutoCloseable {
  private static final String ASKED = ".json";
  private static final String DONE = ".done";
  private static final String PART = ".part";
  private static final Pattern NAME =
      Pattern.compile("([0-9a-f]{32})(\\%s|\\%s|\\%s)".formatted(ASKED, DONE, PART));
  private static final String INDEX = "pictures.json";

  private final Path folder;
  private final FolderLock lock;

  /**
   * A job of before.
   *
   * @param source what the request is read from
   * @param pictures of a job that is done, else null
   */
  record Entry(
      String id,
      Instant accepted,
      Caller caller,
      ObjectNode source,
      @Nullable List<DrawnPicture> pictures) {}

  /** Takes the folder, which no other process may have. */
  Journal(Path folder) throws IOException {
    this.folder = folder;
    lock = FolderLock.take(folder);
  }

  private Path file(String id, String ending) {
    return folder.resolve(id + ending);
  }

  // ---------------------------------------------------------------- while it runs

  /** Keeps what was asked; on the disk when this returns. */
  void accepted(Job job, ObjectNode source) {
    ObjectNode entry = Json.MAPPER.createObjectNode();
    entry.put("accepted", job.accepted().toString());
    entry.put("client", job.caller().client());
    entry.put("key", job.caller().key());
    entry.put("fingerprint", job.caller().fingerprint());
    entry.set("request", source);
    io(() -> Json.write(file(job.id(), ASKED), entry));
  }

  /** Keeps a picture that is drawn; with the last one the job is done. */
  void drawn(Job job, int index, DrawnPicture picture) {
    Path part = file(job.id(), PART);
    if (!Files.exists(file(job.id(), ASKED))) {
      return; // not one to keep
    }
    io(
        () -> {
          Files.createDirectories(part);
          Files.write(part.resolve(Integer.toString(index)), picture.file());
          Path list = part.resolve(INDEX);
          ArrayNode index0 =
              Files.exists(list) ? (ArrayNode) Json.read(list) : Json.MAPPER.createArrayNode();
          ObjectNode entry = index0.addObject();
          entry.put("seed", picture.seed());
          entry.put("width", picture.width());
          entry.put("height", picture.height());
          entry.set("settings", Json.MAPPER.valueToTree(picture.settings()));
          Json.write(list, index0);
          if (index0.size() == job.request().count()) {
            AtomicFiles.replaceDirectory(part, file(job.id(), DONE));
          }
        });
  }

  /** Forgets a job that failed, was cancelled or has expired. */
  void forget(String id) {
    io(
        () -> {
          Files.deleteIfExists(file(id, ASKED));
          AtomicFiles.deleteDirectory(file(id, PART));
          AtomicFiles.deleteDirectory(file(id, DONE));
        });
  }

  // ---------------------------------------------------------------- after it

  /** What there was, in the order in which it was accepted. */
  List<Entry> read() throws IOException {
    List<Entry> entries = new ArrayList<>();
    List<Path> files;
    try (Stream<Path> all = Files.list(folder)) {
      files = all.toList();
    }
    for (Path file : files) {
      Matcher ours = NAME.matcher(file.getFileName().toString());
      if (!ours.matches()) {
        continue; // another's
      }
      String id = ours.group(1);
      if (ours.group(2).equals(ASKED)) {
        entries.add(entry(id, file));
      } else if (!Files.exists(file(id, ASKED))) {
        AtomicFiles.deleteDirectory(file); // killed while it was forgotten
      }
    }
    entries.sort(Comparator.comparing(Entry::accepted));
    return entries;
  }

  private Entry entry(String id, Path file) throws IOException {
    AtomicFiles.deleteDirectory(file(id, PART));
    JsonNode entry = Json.readObject(file);
    String key = entry.path("key").isNull() ? null : entry.path("key").asText();
    Caller caller =
        new Caller(entry.path("client").asText(), key, entry.path("fingerprint").asText(), false);
    return new Entry(
        id,
        Instant.parse(entry.path("accepted").asText()),
        caller,
        (ObjectNode) entry.get("request"),
        pictures(file(id, DONE)));
  }

  private static @Nullable List<DrawnPicture> pictures(Path done) throws IOException {
    if (!Files.exists(done)) {
      return null;
    }
    List<DrawnPicture> pictures = new ArrayList<>();
    for (JsonNode each : Json.read(done.resolve(INDEX))) {
      byte[] file = Files.readAllBytes(done.resolve(Integer.toString(pictures.size())));
      @SuppressWarnings("unchecked")
      Map<String, String> settings = Json.MAPPER.convertValue(each.get("settings"), Map.class);
      pictures.add(
          new DrawnPicture(
              file,
              each.path("width").asInt(),
              each.path("height").asInt(),
              each.path("seed").asLong(),
              settings));
    }
    return pictures;
  }

  /** Works on files. */
  private interface Work {
    void run() throws IOException;
  }

  private static void io(Work work) {
    try {
      work.run();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Override
  public void close() {
    io(lock::close);
  }
}
