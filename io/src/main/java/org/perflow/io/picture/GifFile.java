package org.perflow.io.picture;

import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.awt.image.IndexColorModel;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/**
 * GIF (https://www.w3.org/Graphics/GIF/spec-gif89a.txt): a screen, of which a frame may cover a
 * part. The first frame is read, on the whole screen.
 */
final class GifFile {
  private static final int PALETTE_FLAG = 0x80;

  private GifFile() {}

  static EncodedPicture open(byte[] file) throws IOException {
    ByteBuffer data = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN);
    int frame = firstFrame(data);
    int x = data.getShort(frame) & 0xFFFF;
    int y = data.getShort(frame + 2) & 0xFFFF;
    int width = x + (data.getShort(frame + 4) & 0xFFFF);
    int height = y + (data.getShort(frame + 6) & 0xFFFF);
    int canvasWidth = Math.max(width, data.getShort(6) & 0xFFFF);
    int canvasHeight = Math.max(height, data.getShort(8) & 0xFFFF);
    return new EncodedPicture(
        canvasWidth,
        canvasHeight,
        1,
        null,
        () -> onScreen(EncodedPicture.decode("gif", file), x, y, canvasWidth, canvasHeight));
  }

  /** Where the descriptor of the first frame is: x, y, width, height. */
  private static int firstFrame(ByteBuffer data) throws IOException {
    int flags = data.get(10);
    int at = 13 + ((flags & PALETTE_FLAG) == 0 ? 0 : 3 << (flags & 7) + 1);
    while (data.get(at) == '!') { // an extension: a label, then blocks up to an empty one
      at += 2;
      while (data.get(at) != 0) {
        at += 1 + (data.get(at) & 0xFF);
      }
      at++;
    }
    if (data.get(at) != ',') {
      throw new IOException("damaged picture (no frame in it)");
    }
    return at + 1;
  }

  /** What the frame leaves is transparent where the frame can be, else of the first colour. */
  private static BufferedImage onScreen(BufferedImage frame, int x, int y, int width, int height) {
    if (frame.getWidth() == width && frame.getHeight() == height) {
      return frame;
    }
    var palette = (IndexColorModel) frame.getColorModel();
    boolean transparent = palette.getTransparentPixel() >= 0;
    var screen = new BufferedImage(width, height, BufferedImage.TYPE_INT_ARGB);
    for (int row = 0; row < height && !transparent; row++) {
      for (int column = 0; column < width; column++) {
        screen.setRGB(column, row, palette.getRGB(0));
      }
    }
    Graphics2D graphics = screen.createGraphics();
    graphics.drawImage(frame, x, y, null);
    graphics.dispose();
    return screen;
  }
}
