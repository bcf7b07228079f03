package org.perflow.io;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveInputStream;
import org.jspecify.annotations.Nullable;

/**
 * Streams the samples of a WebDataset shard (see {@link ShardWriter}). Members with other endings
 * are skipped. One thread.
 */
public final class ShardReader implements AutoCloseable {
  private static final Set<String> PICTURES = Set.of("png", "jpg", "jpeg", "webp");
  private static final int BLOCK = 512;
  private static final long MAX_MEMBER = 256 << 20;

  private final Path tar;
  private final TarArchiveInputStream in;
  private @Nullable TarArchiveEntry ahead; // first member of the next sample

  /**
   * Opens {@code tar}.
   *
   * @throws FormatException where it is truncated or compressed
   */
  public ShardReader(Path tar) throws IOException {
    this.tar = tar;
    if (!Files.isRegularFile(tar)) {
      throw new NoSuchFileException(tar.toString(), null, "there is no such file");
    }
    checkEnds();
    this.in =
        new TarArchiveInputStream(new BufferedInputStream(Files.newInputStream(tar)), "UTF-8");
    try {
      this.ahead = nextFile();
    } catch (IOException e) {
      in.close();
      throw e;
    }
  }

  /** All samples of these shards, in order, in memory: for small sets. */
  public static List<Sample> readAll(List<Path> tars) throws IOException {
    List<Sample> samples = new ArrayList<>();
    for (Path tar : tars) {
      try (ShardReader reader = new ShardReader(tar)) {
        for (var next = reader.next(); next.isPresent(); next = reader.next()) {
          samples.add(next.get());
        }
      }
    }
    return samples;
  }

  /**
   * The next sample, empty after the last.
   *
   * @throws FormatException naming tar and member where one is damaged, or a sample lacks its
   *     picture or caption
   */
  public Optional<Sample> next() throws IOException {
    if (ahead == null) {
      return Optional.empty();
    }
    String key = key(ahead);
    byte @Nullable [] picture = null;
    String caption = null;
    JsonNode json = Json.MAPPER.createObjectNode();
    while (ahead != null && key(ahead).equals(key)) {
      String name = ahead.getName();
      String ending = name.substring(Math.min(name.length(), key.length() + 1));
      ending = ending.toLowerCase(Locale.ROOT);
      if (PICTURES.contains(ending)) {
        if (picture != null) {
          throw bad(name + ": a second picture for '" + key + "'");
        }
        picture = content(ahead);
      } else if (ending.equals("txt")) {
        caption = text(name, content(ahead));
      } else if (ending.equals("json")) {
        json = json(name, content(ahead));
      }
      ahead = nextFile();
    }
    if (picture == null) {
      throw bad("sample '" + key + "' has no picture: expected " + key + ".png, .jpg or .webp");
    }
    if (caption == null) {
      throw bad("sample '" + key + "' has no caption: expected " + key + ".txt beside its picture");
    }
    return Optional.of(new Sample(fileName(), key, picture, caption, json));
  }

  /** The path up to the first dot of the file name, as the webdataset library splits it. */
  private static String key(TarArchiveEntry entry) {
    String name = entry.getName();
    int dot = name.indexOf('.', name.lastIndexOf('/') + 1);
    return dot < 0 ? name : name.substring(0, dot);
  }

  private @Nullable TarArchiveEntry nextFile() throws IOException {
    try {
      TarArchiveEntry entry;
      do {
        entry = in.getNextEntry();
      } while (entry != null && !entry.isFile());
      return entry;
    } catch (IOException | RuntimeException e) { // a damaged header throws either
      String after = ahead == null ? "at its first member" : "after member " + ahead.getName();
      throw new FormatException(
          tar + ": damaged or truncated " + after + " (" + e.getMessage() + "); fetch it again", e);
    }
  }

  private byte[] content(TarArchiveEntry entry) throws IOException {
    if (entry.getSize() > MAX_MEMBER) {
      throw bad(
          "member %s has %d bytes, expected at most %d"
              .formatted(entry.getName(), entry.getSize(), MAX_MEMBER));
    }
    try {
      return in.readAllBytes();
    } catch (IOException | RuntimeException e) {
      throw new FormatException(
          "%s: member %s is cut off or damaged (%s); fetch the shard again"
              .formatted(tar, entry.getName(), e.getMessage()),
          e);
    }
  }

  private String text(String member, byte[] content) throws IOException {
    try {
      var decoder = StandardCharsets.UTF_8.newDecoder(); // reports what is no UTF-8
      return decoder.decode(ByteBuffer.wrap(content)).toString().strip();
    } catch (CharacterCodingException e) {
      throw new FormatException(tar + ": member " + member + " is no UTF-8 text", e);
    }
  }

  private JsonNode json(String member, byte[] content) throws IOException {
    try {
      return Json.MAPPER.readTree(content);
    } catch (JsonProcessingException e) {
      throw new FormatException(
          tar + ": member " + member + " is no JSON: " + e.getOriginalMessage(), e);
    }
  }

  /**
   * A tar ends with empty blocks. One cut off between two members still reads well up to there, so
   * this is the only sign of it.
   */
  private void checkEnds() throws IOException {
    try (RandomAccessFile file = new RandomAccessFile(tar.toFile(), "r")) {
      if (file.length() >= 2 && file.readUnsignedShort() == 0x1F8B) {
        throw bad("it is compressed by gzip; expected a plain tar: unpack it with gunzip");
      }
      byte[] end = new byte[BLOCK];
      if (file.length() >= BLOCK) {
        file.seek(file.length() - BLOCK);
        file.readFully(end);
      }
      for (byte value : end) {
        if (value != 0 || file.length() < 2 * BLOCK) {
          throw bad(
              "truncated: the empty blocks that end a tar are missing after "
                  + file.length()
                  + " bytes; fetch it again");
        }
      }
    }
  }

  private String fileName() {
    Path name = tar.getFileName();
    return name == null ? tar.toString() : name.toString();
  }

  private FormatException bad(String problem) {
    return new FormatException(tar + ": " + problem);
  }

  @Override
  public void close() throws IOException {
    in.close();
  }
}
