package org.perflow.io.picture;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;

/** BMP (Windows and OS/2 bitmaps): a file header of 14 bytes, then one of the picture. */
final class BmpFile {
  private static final int OS2_HEADER = 12;
  private static final int EMBEDDED_JPEG = 4;
  private static final int EMBEDDED_PNG = 5;

  private BmpFile() {}

  static EncodedPicture open(byte[] file) throws IOException {
    ByteBuffer data = ByteBuffer.wrap(file).order(ByteOrder.LITTLE_ENDIAN);
    boolean os2 = data.getInt(14) == OS2_HEADER;
    int compression = os2 ? 0 : data.getInt(30);
    if (compression == EMBEDDED_JPEG || compression == EMBEDDED_PNG) {
      throw new IOException("a JPEG or PNG inside a BMP is not read; convert it to PNG");
    }
    int width = os2 ? data.getShort(18) & 0xFFFF : data.getInt(18);
    int height = os2 ? data.getShort(20) & 0xFFFF : data.getInt(22);
    return new EncodedPicture(
        width,
        Math.abs(height), // below zero: stored from the top
        1,
        null,
        () -> EncodedPicture.decode("bmp", file));
  }
}
