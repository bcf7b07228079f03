package org.perflow.importing;

import java.awt.Color;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Random;
import javax.imageio.ImageIO;
import org.perflow.io.Images;

/** Real picture files in a folder, for tests. */
final class PhotoFolder {
  /** Of the module that reads pictures: a rotated JPEG and WebP files. */
  static final Path RESOURCES = Path.of("../io/src/test/resources/pictures");

  private final Path folder;

  PhotoFolder(Path folder) {
    this.folder = folder;
  }

  Path path() {
    return folder;
  }

  /** Smooth random colours: no two seeds look alike. */
  static BufferedImage picture(int width, int height, int seed) {
    Random random = new Random(seed);
    var small = new BufferedImage(7, 7, BufferedImage.TYPE_INT_RGB);
    for (int i = 0; i < 49; i++) {
      small.setRGB(i % 7, i / 7, random.nextInt(1 << 24));
    }
    return Images.resize(small, width, height);
  }

  /** Left half of one colour, right half of another. */
  static BufferedImage halves(int width, int height, Color left, Color right) {
    var picture = new BufferedImage(width, height, BufferedImage.TYPE_INT_RGB);
    Graphics2D graphics = picture.createGraphics();
    graphics.setColor(left);
    graphics.fillRect(0, 0, width / 2, height);
    graphics.setColor(right);
    graphics.fillRect(width / 2, 0, width - width / 2, height);
    graphics.dispose();
    return picture;
  }

  static byte[] encoded(BufferedImage picture, String format) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    ImageIO.write(picture, format, bytes);
    return bytes.toByteArray();
  }

  /** A JPEG that a camera held sideways has written: behind its first marker come EXIF data. */
  static byte[] turned(BufferedImage stored, int orientation) throws IOException {
    byte[] jpeg = encoded(stored, "jpeg");
    ByteBuffer exif = ByteBuffer.allocate(32).order(ByteOrder.LITTLE_ENDIAN);
    exif.put("Exif\0\0II*\0".getBytes(StandardCharsets.ISO_8859_1)).putInt(8);
    exif.putShort((short) 1).putShort((short) 0x0112).putShort((short) 3).putInt(1);
    exif.putInt(orientation).putInt(0);
    ByteBuffer all = ByteBuffer.allocate(jpeg.length + 36);
    all.put(jpeg, 0, 2).putShort((short) 0xFFE1).putShort((short) 34).put(exif.array());
    return all.put(jpeg, 2, jpeg.length - 2).array();
  }

  PhotoFolder put(String name, byte[] content) throws IOException {
    Path file = folder.resolve(name);
    Files.createDirectories(file.getParent());
    Files.write(file, content);
    return this;
  }

  PhotoFolder put(String name, String text) throws IOException {
    return put(name, text.getBytes(StandardCharsets.UTF_8));
  }

  /** A picture with a caption beside it. */
  PhotoFolder put(String stem, String format, BufferedImage picture, String caption)
      throws IOException {
    return put(stem + "." + format, encoded(picture, format)).put(stem + ".txt", caption);
  }

  /** So many of them: "picture 0", ... */
  PhotoFolder fill(int count, int width, int height) throws IOException {
    for (int i = 0; i < count; i++) {
      put("p%03d".formatted(i), "jpg", picture(width, height, i), "picture " + i);
    }
    return this;
  }
}
