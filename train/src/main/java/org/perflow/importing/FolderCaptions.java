package org.perflow.importing;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.LineNumberReader;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeSet;
import java.util.function.Function;
import org.jspecify.annotations.Nullable;
import org.perflow.importing.LeftOut.Why;
import org.perflow.io.FormatException;
import org.perflow.io.Json;

/**
 * What a folder's files say of its pictures: NAME.txt or NAME.caption beside NAME.jpg; else
 * metadata.jsonl or metadata.csv of Hugging Face's image folders, which name files relative to
 * themselves; else captions.json of kohya's scripts, an object of file names, with or without
 * ending, that hold a caption or an object with "caption" or "tags". One thread.
 */
final class FolderCaptions {
  /** Names of the files that speak of several pictures. */
  static final Set<String> FILES = Set.of("metadata.jsonl", "metadata.csv", "captions.json");

  private static final List<String> ENDINGS = List.of(".txt", ".caption");

  private final Map<Path, Said> said = new LinkedHashMap<>(); // by file, with or without ending
  private final Set<Path> used = new HashSet<>();

  /** A caption, and the file in which it stands. */
  private record Said(String caption, String where) {}

  private FolderCaptions() {}

  /**
   * Reads {@code files}; a line that is damaged is told and passed over.
   *
   * @param names what files are called for people
   */
  static FolderCaptions read(
      List<Path> files, ImportOptions options, Function<Path, String> names, Listing listing)
      throws IOException {
    FolderCaptions captions = new FolderCaptions();
    if (!options.ownCaptions()) {
      return captions;
    }
    for (Path file : files) {
      String where = names.apply(file);
      switch (String.valueOf(file.getFileName())) {
        case "metadata.jsonl" -> captions.readLines(file, where, options.captionKey(), listing);
        case "metadata.csv" ->
            Table.read(file, where, options, true)
                .forEach(row -> captions.add(file, row.picture(), row.caption(), where));
        default -> captions.readKohya(file, where);
      }
    }
    return captions;
  }

  private void readLines(Path file, String where, @Nullable String key, Listing listing)
      throws IOException {
    try (LineNumberReader lines = new LineNumberReader(Files.newBufferedReader(file))) {
      for (String line = lines.readLine(); line != null; line = lines.readLine()) {
        if (!line.isBlank()) {
          readLine(file, where + ", line " + lines.getLineNumber(), line, key, listing);
        }
      }
    } catch (CharacterCodingException e) {
      throw new FormatException(file + " is no UTF-8 text; save it as UTF-8", e);
    }
  }

  private void readLine(Path file, String at, String line, @Nullable String key, Listing listing) {
    try {
      ObjectNode about = Json.object(at, line);
      Set<String> keys = new TreeSet<>();
      about.fieldNames().forEachRemaining(keys::add);
      if (!keys.remove("file_name")) {
        throw new FormatException(at + ": it has no \"file_name\"");
      }
      String text = about.path(Columns.captions(at, keys, key)).asText();
      add(file, about.path("file_name").asText(), text, at);
    } catch (FormatException e) {
      listing.leaveOut(at, Why.UNREADABLE, e.getMessage());
    }
  }

  private void readKohya(Path file, String where) throws IOException {
    for (Map.Entry<String, JsonNode> entry : Json.readObject(file).properties()) {
      JsonNode about = entry.getValue();
      List<String> texts = new ArrayList<>();
      if (about.isTextual()) {
        texts.add(about.asText());
      } else {
        texts.add(about.path("caption").asText());
        texts.add(about.path("tags").asText());
      }
      texts.removeIf(String::isBlank); // kohya's scripts put both in one caption, too
      add(file, entry.getKey(), String.join(", ", texts), where);
    }
  }

  private void add(Path file, String name, String caption, String where) {
    Path picture = file.resolveSibling(name.replace('\\', '/')).normalize();
    said.put(picture, new Said(oneLine(caption), where));
  }

  /**
   * What {@code picture} shows; null where nothing says so.
   *
   * @throws FormatException where a file should say so and does not
   */
  @Nullable String of(Path picture) throws IOException {
    Path bare = picture.resolveSibling(stem(picture));
    Said found = said.getOrDefault(picture.normalize(), said.get(bare.normalize()));
    used.add(picture.normalize());
    used.add(bare.normalize());
    for (String ending : ENDINGS) {
      Path beside = picture.resolveSibling(stem(picture) + ending);
      if (Files.isRegularFile(beside)) {
        return spoken(Json.text(beside), beside.getFileName());
      }
    }
    return found == null ? null : spoken(found.caption(), found.where());
  }

  private static String spoken(String text, Object where) throws FormatException {
    String caption = oneLine(text);
    if (caption.isEmpty()) {
      throw new FormatException("its caption in " + where + " is empty");
    }
    return caption;
  }

  /** Files that captions were found for, but that nobody asked for. */
  Map<Path, String> unused() {
    Map<Path, String> unused = new LinkedHashMap<>();
    said.forEach(
        (file, caption) -> {
          if (!used.contains(file)) {
            unused.put(file, caption.where());
          }
        });
    return unused;
  }

  static String stem(Path picture) {
    String name = String.valueOf(picture.getFileName());
    int dot = name.lastIndexOf('.');
    return dot > 0 ? name.substring(0, dot) : name;
  }

  static String oneLine(String text) {
    return text.strip().replaceAll("\\s+", " ");
  }
}
