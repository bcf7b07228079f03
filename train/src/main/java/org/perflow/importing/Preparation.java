package org.perflow.importing;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.awt.Dimension;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Optional;
import java.util.concurrent.Semaphore;
import java.util.zip.CRC32;
import javax.imageio.IIOImage;
import javax.imageio.ImageIO;
import javax.imageio.ImageWriteParam;
import javax.imageio.ImageWriter;
import javax.imageio.stream.MemoryCacheImageOutputStream;
import org.jspecify.annotations.Nullable;
import org.perflow.importing.Buckets.Size;
import org.perflow.importing.LeftOut.Why;
import org.perflow.io.Fingerprint;
import org.perflow.io.Images;
import org.perflow.io.Json;
import org.perflow.io.Reading;
import org.perflow.io.Sample;
import org.perflow.train.Origin;

/**
 * Makes a picture ready: read upright, in sRGB and on the background, scaled, cut and encoded.
 * Thread-safe; as many pictures are in memory at a time as half of it has room for.
 */
final class Preparation {
  private static final int THUMB = 128; // pixels of the longer side
  private static final float QUALITY = 0.95f;

  private static final int BYTES_A_PIXEL = 12; // in memory, while a picture is read and scaled

  private final ImportOptions options;
  private final @Nullable Buckets buckets;
  private final int megabytes = (int) (Runtime.getRuntime().maxMemory() / 2 >> 20);
  private final Semaphore room = new Semaphore(megabytes, true); // for pictures of all threads

  Preparation(ImportOptions options) {
    this.options = options;
    this.buckets =
        options.buckets() == 0 ? null : Buckets.of(options.buckets(), options.bucketStep());
  }

  /**
   * What a picture became.
   *
   * @param sample to be written; null where it was left out
   * @param about null likewise
   * @param leftOut null where it was not
   * @param thumb a small JPEG where one was asked for
   */
  @SuppressWarnings("ArrayRecordComponent") // passed on, never compared
  record Prepared(
      @Nullable Sample sample,
      @Nullable About about,
      @Nullable LeftOut leftOut,
      byte @Nullable [] thumb) {
    static Prepared leftOut(Entry entry, Why why, String reason) {
      return new Prepared(null, null, new LeftOut(entry.name(), why, reason), null);
    }
  }

  /**
   * What the report says of a picture.
   *
   * @param name of its entry
   * @param found size as it was found, upright
   * @param made size that it has now
   * @param cut whether parts of it are missing
   * @param sha256 of the file
   * @param hash {@link PerceptualHash}
   */
  record About(String name, Size found, Size made, boolean cut, String sha256, long hash) {}

  /** {@code bytes} of {@code entry} as a sample of that key. */
  Prepared prepare(Entry entry, byte[] bytes, String key, boolean thumb) throws IOException {
    try {
      Dimension size = Images.size(bytes, entry.name());
      long needed = 1 + ((long) size.width * size.height * BYTES_A_PIXEL >> 20);
      int taken = (int) Math.min(needed, megabytes);
      room.acquireUninterruptibly(taken);
      try {
        return Reading.of(entry.name(), () -> prepared(entry, bytes, key, thumb));
      } finally {
        room.release(taken);
      }
    } catch (IOException e) {
      String said = String.valueOf(e.getMessage());
      String name = entry.name() + ": "; // which the list has already
      String reason = said.startsWith(name) ? said.substring(name.length()) : said;
      return Prepared.leftOut(entry, Why.UNREADABLE, reason);
    }
  }

  private Prepared prepared(Entry entry, byte[] bytes, String key, boolean thumb)
      throws IOException {
    BufferedImage picture = Images.decode(bytes, entry.name(), options.ground());
    Size found = new Size(picture.getWidth(), picture.getHeight());
    Size wanted = wanted(found);
    Optional<Framing> fitting =
        Framing.of(found, wanted, options.crop(), options.enlarge(), where(entry));
    if (fitting.isEmpty()) {
      return Prepared.leftOut(
          entry, Why.TOO_SMALL, "%s pixels, %s are needed".formatted(found, wanted));
    }
    Framing framing = fitting.get();
    BufferedImage scaled =
        Images.resize(picture, framing.scaled().width(), framing.scaled().height());
    BufferedImage made = framing.cut(scaled, options.ground());
    About about =
        new About(
            entry.name(),
            found,
            wanted,
            framing.cuts(),
            Fingerprint.of(bytes),
            PerceptualHash.of(scaled));
    ObjectNode json = Json.MAPPER.createObjectNode();
    json.put("source", entry.name());
    new Origin(
            found.height(),
            found.width(),
            Math.max(0, framing.top()),
            Math.max(0, framing.left()),
            entry.repeats())
        .writeTo(json);
    Sample sample = new Sample("", key, encoded(made), entry.caption(), json);
    return new Prepared(sample, about, null, thumb ? thumb(made) : null);
  }

  private Size wanted(Size found) {
    return buckets == null
        ? new Size(options.size(), options.size())
        : buckets.nearest(found.width(), found.height());
  }

  /** In 0..1: the same for the same picture, whatever others there are. */
  private static double where(Entry entry) {
    CRC32 crc = new CRC32();
    crc.update(entry.name().getBytes(StandardCharsets.UTF_8));
    return crc.getValue() / (double) (1L << 32);
  }

  private byte[] encoded(BufferedImage picture) throws IOException {
    return options.format() == ImportOptions.Format.JPEG ? jpeg(picture) : png(picture);
  }

  private static byte[] thumb(BufferedImage picture) throws IOException {
    double scale = Math.min(1, (double) THUMB / Math.max(picture.getWidth(), picture.getHeight()));
    return jpeg(
        Images.resize(
            picture,
            (int) Math.max(1, Math.round(scale * picture.getWidth())),
            (int) Math.max(1, Math.round(scale * picture.getHeight()))));
  }

  private static byte[] png(BufferedImage picture) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    ImageIO.write(picture, "png", new MemoryCacheImageOutputStream(bytes));
    return bytes.toByteArray();
  }

  private static byte[] jpeg(BufferedImage picture) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    ImageWriter writer = ImageIO.getImageWritersByFormatName("jpeg").next();
    try (var out = new MemoryCacheImageOutputStream(bytes)) {
      ImageWriteParam how = writer.getDefaultWriteParam();
      how.setCompressionMode(ImageWriteParam.MODE_EXPLICIT);
      how.setCompressionQuality(QUALITY);
      writer.setOutput(out);
      writer.write(null, new IIOImage(picture, null, null), how);
    } finally {
      writer.dispose();
    }
    return bytes.toByteArray();
  }
}
