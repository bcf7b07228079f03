package org.perflow.io;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Set;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveOutputStream;
import org.perflow.io.picture.PictureFormat;

/**
 * Writes a WebDataset shard: a tar whose consecutive members KEY.png (or .jpg, .webp), KEY.txt and
 * KEY.json are one sample. The file appears with {@link #finish}; closing before that leaves what
 * was there. The same samples give the same bytes. One thread.
 */
public final class ShardWriter implements AutoCloseable {
  private final Path tar;
  private final PendingFile file;
  private final TarArchiveOutputStream out;
  private final Set<String> keys = new HashSet<>();

  public ShardWriter(Path tar) throws IOException {
    this.tar = tar;
    this.file = new PendingFile(tar);
    this.out = new TarArchiveOutputStream(file.out(), "UTF-8");
    out.setLongFileMode(TarArchiveOutputStream.LONGFILE_POSIX);
    out.setAddPaxHeadersForNonAsciiNames(true);
  }

  /**
   * Appends a sample; its {@code shard} is not looked at.
   *
   * @throws IllegalArgumentException for a key with a dot or used before, or bytes that are no
   *     picture
   */
  public void write(Sample sample) throws IOException {
    String key = sample.key();
    if (key.isEmpty() || key.substring(key.lastIndexOf('/') + 1).contains(".")) {
      throw new IllegalArgumentException(
          tar + ": key '" + key + "': expected a name without a dot, the ending starts there");
    }
    if (!keys.add(key)) {
      throw new IllegalArgumentException(tar + ": key '" + key + "' twice");
    }
    try {
      member(key + "." + ending(sample), sample.picture());
      member(key + ".txt", sample.caption().getBytes(StandardCharsets.UTF_8));
      if (!sample.json().isEmpty()) {
        member(key + ".json", sample.json().toString().getBytes(StandardCharsets.UTF_8));
      }
    } catch (IOException e) {
      throw new IOException(AtomicFiles.explain(tar, e), e);
    }
  }

  private String ending(Sample sample) {
    PictureFormat format = PictureFormat.of(sample.picture()).orElse(null);
    if (format == PictureFormat.PNG) {
      return "png";
    } else if (format == PictureFormat.JPEG) {
      return "jpg";
    } else if (format == PictureFormat.WEBP) {
      return "webp";
    }
    throw new IllegalArgumentException(
        tar + ": '" + sample.key() + "' is no PNG, JPEG or WebP picture");
  }

  private void member(String name, byte[] content) throws IOException {
    TarArchiveEntry entry = new TarArchiveEntry(name);
    entry.setSize(content.length);
    entry.setModTime(0); // the same bytes whenever and by whomever they are written
    entry.setUserName("");
    out.putArchiveEntry(entry);
    out.write(content);
    out.closeArchiveEntry();
  }

  /** Ends the tar and puts it in place; nothing can be written after. */
  public void finish() throws IOException {
    try {
      out.finish();
      file.commit();
    } catch (IOException e) {
      throw new IOException(AtomicFiles.explain(tar, e), e);
    }
  }

  @Override
  public void close() throws IOException {
    file.close();
  }
}
