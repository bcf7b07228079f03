package org.perflow.io;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.BufferedInputStream;
import java.io.FilterInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
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
import java.util.function.BiConsumer;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveInputStream;
import org.jspecify.annotations.Nullable;

/**
 * Streams the samples of a WebDataset shard (see {@link ShardWriter}). Members with other endings
 * are skipped, and so is what is no part of a sample: what the webdataset library finds no key in
 * (hidden files, such as macOS' tar adds, names without an ending), and names under which there is
 * neither picture nor caption. One thread.
 */
public final class ShardReader implements AutoCloseable {
  /**
   * Endings by which members are told.
   *
   * @param pictures of pictures, in small letters
   * @param caption of captions; {@code json.FIELD} for a text in the JSON
   */
  public record Keys(Set<String> pictures, String caption) {
    private static final String FIELD = "json.";

    /** Those that {@link ShardWriter} writes. */
    public static final Keys OWN = new Keys(Set.of("png", "jpg", "jpeg", "webp"), "txt");

    public Keys {
      pictures = Set.copyOf(pictures);
    }
  }

  /** How the webdataset library splits a name into key and ending ({@code base_plus_ext}). */
  private static final Pattern NAME = Pattern.compile("((?:.*/|)[^./]+)[.]([^/]*)", Pattern.DOTALL);

  /** What that library keeps for itself. */
  private static final Pattern META = Pattern.compile("__[^/]*__(/|$)");

  private static final String BYTE_ORDER_MARK = "\uFEFF"; // Windows' editors put it before UTF-8
  private static final int BLOCK = 512;
  private static final int MAX_PICTURE = 256 << 20;
  private static final int MAX_TEXT = 16 << 20;
  private static final int MAX_HEADERS = 1 << 20; // of one member; each calls the library anew
  private static final String TOGETHER = " (tar --sort=name puts them together)";

  private final Path tar;
  private final Keys keys;
  private final @Nullable BiConsumer<String, String> incomplete;
  private final Tape tape;
  private final TarArchiveInputStream in;
  private @Nullable Member ahead; // first member of the next sample
  private @Nullable String last; // of the entries that were read
  private final List<String> others = new ArrayList<>();

  /** A file in the tar, at which the stream stands, and what its name says. */
  private record Member(TarArchiveEntry entry, String key, String ending) {
    String name() {
      return entry.getName();
    }
  }

  /**
   * Opens {@code tar}.
   *
   * @throws FormatException where it is truncated or compressed
   */
  public ShardReader(Path tar) throws IOException {
    this(tar, Keys.OWN, null);
  }

  /**
   * Opens a shard of others.
   *
   * @param incomplete is told the key of a sample that cannot be taken, and why; null for an error
   */
  public ShardReader(Path tar, Keys keys, @Nullable BiConsumer<String, String> incomplete)
      throws IOException {
    this.tar = tar;
    this.keys = keys;
    this.incomplete = incomplete;
    if (!Files.isRegularFile(tar)) {
      throw new NoSuchFileException(tar.toString(), null, "there is no such file");
    }
    checkEnds();
    this.tape = new Tape(Files.newInputStream(tar));
    this.in = new TarArchiveInputStream(tape, "UTF-8");
    try {
      this.ahead = nextMember();
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
    while (ahead != null) {
      Optional<Sample> sample = sample(ahead.key);
      if (sample.isPresent()) {
        return sample;
      }
    }
    return Optional.empty();
  }

  /** Names of the files passed so far that belong to no sample. */
  public List<String> others() {
    return List.copyOf(others);
  }

  /** The members of {@code key} as a sample; empty where they are none that can be taken. */
  private Optional<Sample> sample(String key) throws IOException {
    byte @Nullable [] picture = null;
    String caption = null;
    JsonNode json = Json.MAPPER.createObjectNode();
    String problem = null;
    List<String> names = new ArrayList<>();
    while (ahead != null && ahead.key.equals(key)) {
      Member member = ahead;
      names.add(member.name());
      if (keys.pictures().contains(member.ending)) {
        problem =
            picture == null ? problem : member.name() + ": a second picture for '" + key + "'";
        picture = content(member.entry, MAX_PICTURE);
      } else if (member.ending.equals(keys.caption())) {
        caption = text(member.name(), content(member.entry, MAX_TEXT));
      } else if (member.ending.equals("json")) {
        json = json(member.name(), content(member.entry, MAX_TEXT));
      }
      ahead = nextMember();
    }
    if (keys.caption().startsWith(Keys.FIELD)) {
      JsonNode text = json.path(keys.caption().substring(Keys.FIELD.length()));
      caption = text.isTextual() ? text.asText().strip() : caption;
    }
    if (problem == null && picture == null && caption == null) {
      others.addAll(names);
      return Optional.empty();
    }
    problem = problem == null ? missing(key, picture, caption, names.get(0)) : problem;
    if (problem == null) {
      return Optional.of(new Sample(fileName(), key, picture, caption, json));
    }
    if (incomplete == null) {
      throw bad(problem);
    }
    incomplete.accept(key, problem);
    return Optional.empty();
  }

  private @Nullable String missing(
      String key, byte @Nullable [] picture, @Nullable String caption, String first) {
    if (picture == null) {
      return "sample '%s' has no picture: expected %s.png, .jpg or .webp next to %s%s"
          .formatted(key, key, first, TOGETHER);
    }
    return caption == null
        ? "sample '%s' has no caption: expected %s.%s next to %s%s"
            .formatted(key, key, keys.caption(), first, TOGETHER)
        : null;
  }

  /** The next file whose name has a key, null after the last. */
  private @Nullable Member nextMember() throws IOException {
    for (TarArchiveEntry entry = nextEntry(); entry != null; entry = nextEntry()) {
      if (entry.isSparse()) {
        throw bad("member " + entry.getName() + " is sparse, which is not read; pack without -S");
      }
      Matcher name = NAME.matcher(entry.getName());
      if (name.matches() && !META.matcher(entry.getName()).lookingAt()) {
        return new Member(entry, name.group(1), name.group(2).toLowerCase(Locale.ROOT));
      }
      if (!entry.isDirectory()) {
        others.add(entry.getName());
      }
    }
    return null;
  }

  private @Nullable TarArchiveEntry nextEntry() throws IOException {
    try {
      if (last != null) {
        in.transferTo(OutputStream.nullOutputStream()); // the rest of it
      }
      tape.headers = MAX_HEADERS;
      TarArchiveEntry entry = in.getNextEntry();
      tape.headers = Long.MAX_VALUE;
      if (entry == null) {
        tape.checkRest();
      } else {
        last = entry.getName();
      }
      return entry;
    } catch (IOException | RuntimeException e) { // a damaged header throws either
      String after = last == null ? "at its first member" : "after member " + last;
      throw new FormatException(
          tar + ": damaged or truncated " + after + " (" + e.getMessage() + "); fetch it again", e);
    }
  }

  private byte[] content(TarArchiveEntry entry, int limit) throws IOException {
    if (entry.isLink() || entry.isSymbolicLink()) {
      throw bad(
          "member %s is a link to %s, which is not followed; pack it with tar -h --hard-dereference"
              .formatted(entry.getName(), entry.getLinkName()));
    }
    if (entry.getSize() > limit) {
      throw bad(
          "member %s has %d bytes, expected at most %d"
              .formatted(entry.getName(), entry.getSize(), limit));
    }
    try {
      return in.readNBytes(limit);
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
      String text = decoder.decode(ByteBuffer.wrap(content)).toString();
      return (text.startsWith(BYTE_ORDER_MARK) ? text.substring(1) : text).strip();
    } catch (CharacterCodingException e) {
      throw new FormatException(tar + ": member " + member + " is no UTF-8 text", e);
    }
  }

  private JsonNode json(String member, byte[] content) throws IOException {
    try {
      return Json.MAPPER.readTree(text(member, content));
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

  /** The bytes of the tar, of which not all may be headers. */
  private static final class Tape extends FilterInputStream {
    private long headers = MAX_HEADERS; // bytes that may still be read before a member

    Tape(InputStream file) {
      super(new BufferedInputStream(file));
    }

    @Override
    public int read() throws IOException {
      int value = super.read();
      count(value < 0 ? 0 : 1);
      return value;
    }

    @Override
    public int read(byte[] bytes, int from, int length) throws IOException {
      int read = super.read(bytes, from, length);
      count(Math.max(0, read));
      return read;
    }

    private void count(int read) throws IOException {
      headers -= read;
      if (headers < 0) {
        throw new IOException("more than " + MAX_HEADERS + " bytes of headers in a row");
      }
    }

    /** Behind the end of a tar are only zeros; another tar there would be lost. */
    void checkRest() throws IOException {
      byte[] part = new byte[1 << 16];
      for (int read = read(part); read >= 0; read = read(part)) {
        for (int i = 0; i < read; i++) {
          if (part[i] != 0) {
            throw new IOException(
                "there are data behind its end; tar --concatenate joins two shards, cat does not");
          }
        }
      }
    }
  }
}
