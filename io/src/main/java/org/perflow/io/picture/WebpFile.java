package org.perflow.io.picture;

import com.luciad.imageio.webp.WebPImageReaderSpi;
import java.awt.Color;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;

/**
 * WebP (RFC 9649): a RIFF file of chunks. Of an animation the first frame is read, which libwebp
 * does not know here: it is handed to it as a file of its own and laid on the canvas.
 */
final class WebpFile {
  private static final int HEADER = 12;
  private static final int ALPHA_FLAG = 0x10;

  private WebpFile() {}

  private record Size(int width, int height) {}

  static EncodedPicture open(byte[] file) throws IOException {
    Map<String, byte[]> chunks = chunks(file, HEADER);
    byte[] extended = chunks.get("VP8X");
    byte[] frame = chunks.get("ANMF");
    Size canvas = extended == null ? size(chunks) : canvas(extended, 4);
    return new EncodedPicture(
        canvas.width,
        canvas.height,
        Orientation.of(chunks.get("EXIF"), chunks.get("XMP ")),
        chunks.get("ICCP"),
        extended != null && frame != null
            ? () -> firstFrame(frame, canvas, (extended[0] & ALPHA_FLAG) != 0)
            : () -> decode(file));
  }

  /** The first chunk of each name: four letters, a length, data, padded to an even length. */
  private static Map<String, byte[]> chunks(byte[] file, int from) throws IOException {
    ByteBuffer data = little(file);
    Map<String, byte[]> chunks = new LinkedHashMap<>();
    long at = from;
    while (at + 8 <= file.length) {
      String name = new String(file, (int) at, 4, StandardCharsets.ISO_8859_1);
      long length = data.getInt((int) at + 4) & 0xFFFFFFFFL;
      if (length > file.length - at - 8) {
        throw new IOException("damaged picture (cut off: its end is missing)");
      }
      if (!chunks.containsKey(name)) {
        chunks.put(name, Arrays.copyOfRange(file, (int) at + 8, (int) (at + 8 + length)));
      }
      at += 8 + length + (length & 1);
    }
    return chunks;
  }

  /** What the pixels' own header says, lossy or lossless. */
  private static Size size(Map<String, byte[]> chunks) throws IOException {
    byte @Nullable [] lossy = chunks.get("VP8 ");
    byte @Nullable [] lossless = chunks.get("VP8L");
    if (lossy != null) {
      ByteBuffer data = little(lossy);
      return new Size(data.getShort(6) & 0x3FFF, data.getShort(8) & 0x3FFF);
    }
    if (lossless != null) {
      int sizes = little(lossless).getInt(1);
      return new Size((sizes & 0x3FFF) + 1, (sizes >> 14 & 0x3FFF) + 1);
    }
    throw new IOException("damaged picture (no picture in it)");
  }

  /** Two numbers of 24 bits, each one too small. */
  private static Size canvas(byte[] chunk, int at) {
    return new Size(int24(chunk, at) + 1, int24(chunk, at + 3) + 1);
  }

  /** ANMF: twice x and y of half their value, width, height, duration, flags; then chunks. */
  private static BufferedImage firstFrame(byte[] frame, Size canvas, boolean alpha)
      throws IOException {
    int x = 2 * int24(frame, 0);
    int y = 2 * int24(frame, 3);
    Size size = canvas(frame, 6);
    Map<String, byte[]> chunks = chunks(frame, 16);
    if (!size.equals(size(chunks))
        || x + size.width > canvas.width
        || y + size.height > canvas.height) {
      throw new IOException("damaged picture (a frame that does not fit)");
    }
    var whole = new BufferedImage(canvas.width, canvas.height, BufferedImage.TYPE_INT_ARGB);
    Graphics2D graphics = whole.createGraphics();
    if (!alpha) {
      graphics.setColor(Color.BLACK); // as libwebp's own reader of animations
      graphics.fillRect(0, 0, canvas.width, canvas.height);
    }
    graphics.drawImage(decode(still(frame, chunks)), x, y, null);
    graphics.dispose();
    return whole;
  }

  private static BufferedImage decode(byte[] file) throws IOException {
    try {
      return EncodedPicture.decode(new WebPImageReaderSpi().createReaderInstance(null), file);
    } catch (OutOfMemoryError e) { // so libwebp speaks of damaged transparency, too
      throw new IOException("damaged picture, or one that the memory does not hold", e);
    } catch (LinkageError e) { // native: not there for each system, or nowhere to unpack it
      throw new IOException(
          "libwebp does not load here (" + e.getMessage() + "); convert the picture to PNG", e);
    }
  }

  /** A file of the frame alone. */
  private static byte[] still(byte[] frame, Map<String, byte[]> chunks) {
    ByteArrayOutputStream body = new ByteArrayOutputStream();
    body.writeBytes("WEBP".getBytes(StandardCharsets.ISO_8859_1));
    if (chunks.containsKey("ALPH")) {
      body.writeBytes("VP8X".getBytes(StandardCharsets.ISO_8859_1));
      body.writeBytes(new byte[] {10, 0, 0, 0, ALPHA_FLAG, 0, 0, 0});
      body.write(frame, 6, 6); // width and height
    }
    body.write(frame, 16, frame.length - 16);
    ByteBuffer file = little(new byte[8 + body.size()]);
    file.put("RIFF".getBytes(StandardCharsets.ISO_8859_1)).putInt(body.size());
    return file.put(body.toByteArray()).array();
  }

  private static int int24(byte[] bytes, int at) {
    return (bytes[at] & 0xFF) | (bytes[at + 1] & 0xFF) << 8 | (bytes[at + 2] & 0xFF) << 16;
  }

  private static ByteBuffer little(byte[] bytes) {
    return ByteBuffer.wrap(bytes).order(ByteOrder.LITTLE_ENDIAN);
  }
}
