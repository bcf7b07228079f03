package org.perflow.io.picture;

import java.nio.BufferUnderflowException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.jspecify.annotations.Nullable;

/**
 * The first directory of a TIFF file (TIFF 6.0, section 2): numbers under numbered tags. EXIF data
 * are such a file without pixels.
 *
 * <p>Data that are no such file raise an unchecked exception.
 */
final class TiffTags {
  private static final int ENTRY = 12;
  private static final int[] BYTES = {0, 1, 1, 2, 4, 8, 1, 1, 2, 4, 8, 4, 8}; // by type

  private final ByteBuffer data;
  private final int first; // entry
  private final int count;

  TiffTags(ByteBuffer data) {
    this.data = data;
    data.order(data.get(0) == 'M' ? ByteOrder.BIG_ENDIAN : ByteOrder.LITTLE_ENDIAN);
    if (data.getShort(2) != 42) {
      throw new IllegalArgumentException("no TIFF header");
    }
    int directory = data.getInt(4);
    this.count = data.getShort(directory) & 0xFFFF;
    this.first = directory + 2;
  }

  static TiffTags ofExif(byte[] exif) {
    int from = 0;
    while (exif.length > from + 6 && exif[from] == 'E' && exif[from + 4] == 0) { // "Exif\0\0"
      from += 6;
    }
    return new TiffTags(ByteBuffer.wrap(exif, from, exif.length - from).slice());
  }

  /** The first number under {@code tag}. */
  long value(int tag, long otherwise) {
    long[] values = values(tag);
    return values.length == 0 ? otherwise : values[0];
  }

  /** All numbers under {@code tag}; none where it is missing or holds no whole numbers. */
  long[] values(int tag) {
    int entry = find(tag);
    int type = entry < 0 ? 0 : data.getShort(entry + 2);
    if (type != 1 && type != 3 && type != 4) {
      return new long[0];
    }
    int at = position(entry);
    long[] values = new long[data.getInt(entry + 4)];
    for (int i = 0; i < values.length; i++) {
      values[i] =
          switch (type) {
            case 1 -> data.get(at + i) & 0xFF;
            case 3 -> data.getShort(at + 2 * i) & 0xFFFF;
            default -> data.getInt(at + 4 * i) & 0xFFFFFFFFL;
          };
    }
    return values;
  }

  /** What is under {@code tag} as it is; null where it is missing. */
  byte @Nullable [] bytes(int tag) {
    int entry = find(tag);
    if (entry < 0) {
      return null;
    }
    byte[] bytes = new byte[length(entry)];
    data.get(position(entry), bytes);
    return bytes;
  }

  private int find(int tag) {
    for (int i = 0; i < count; i++) {
      if ((data.getShort(first + i * ENTRY) & 0xFFFF) == tag) {
        return first + i * ENTRY;
      }
    }
    return -1;
  }

  /** Up to four bytes stand in the entry itself, more elsewhere. */
  private int position(int entry) {
    int length = length(entry);
    int at = length <= 4 ? entry + 8 : data.getInt(entry + 8);
    if (at < 0 || at > data.capacity() - length) {
      throw new BufferUnderflowException();
    }
    return at;
  }

  private int length(int entry) {
    int type = data.getShort(entry + 2);
    long length = (data.getInt(entry + 4) & 0xFFFFFFFFL) * BYTES[type];
    if (length > data.capacity()) {
      throw new BufferUnderflowException();
    }
    return (int) length;
  }
}
