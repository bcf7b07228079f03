package org.perflow.io.picture;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import org.jspecify.annotations.Nullable;

/**
 * JPEG (ITU-T T.81, annex B): markers (0xFF and a code), most of them with a segment of data. The
 * library that decodes it knows its colours: CMYK as Adobe stores it, and profiles.
 */
final class JpegFile {
  private static final int MAX_SCANS = 200; // each can cost a walk over all pixels; usual are 1-15
  private static final String EXIF = "Exif\0\0";
  private static final String PROFILE = "ICC_PROFILE\0";
  private static final String XMP = "http://ns.adobe.com/xap/1.0/\0";

  private final byte[] file;
  private int width;
  private int height;
  private int scans;
  private byte @Nullable [] exif;
  private byte @Nullable [] xmp;

  private JpegFile(byte[] file) {
    this.file = file;
  }

  static EncodedPicture open(byte[] file) throws IOException {
    JpegFile jpeg = new JpegFile(file);
    jpeg.walk();
    if (jpeg.scans > MAX_SCANS) {
      throw new IOException(jpeg.scans + " scans, expected at most " + MAX_SCANS);
    }
    return new EncodedPicture(
        jpeg.width,
        jpeg.height,
        Orientation.of(jpeg.exif, jpeg.xmp),
        null,
        () -> EncodedPicture.decode("jpeg", file));
  }

  /**
   * Up to the end marker. After the segment of a scan come its data, in which 0xFF stands only
   * before a zero or a restart marker.
   */
  private void walk() throws IOException {
    int at = 2;
    while (at < file.length - 1) {
      int marker = file[at + 1] & 0xFF;
      if (file[at] != (byte) 0xFF || marker == 0xFF) { // data of a scan, or padding
        at++;
      } else if (marker == 0xD9) {
        return;
      } else if (marker <= 1 || (marker >= 0xD0 && marker <= 0xD8)) { // no segment
        at += 2;
      } else {
        int length = at + 4 <= file.length ? ByteBuffer.wrap(file).getShort(at + 2) & 0xFFFF : 0;
        if (length < 2 || length > file.length - at - 2) {
          break;
        }
        segment(marker, at + 4, length - 2);
        at += 2 + length;
      }
    }
    throw new IOException("damaged picture (cut off: its end is missing)");
  }

  private void segment(int marker, int from, int length) throws IOException {
    boolean frame = marker >= 0xC0 && marker <= 0xCF;
    if (frame && marker != 0xC4 && marker != 0xC8 && marker != 0xCC) { // tables have these
      ByteBuffer data = ByteBuffer.wrap(file, from, length).slice();
      height = Math.max(height, data.getShort(1) & 0xFFFF);
      width = Math.max(width, data.getShort(3) & 0xFFFF);
    } else if (marker == 0xDA) {
      scans++;
    } else if (marker == 0xE1 || marker == 0xE2) {
      byte[] data = Arrays.copyOfRange(file, from, from + length);
      if (exif == null && Signature.begins(data, EXIF)) {
        exif = data;
      } else if (xmp == null && Signature.begins(data, XMP)) {
        xmp = data;
      } else if (Signature.begins(data, PROFILE)) {
        checkProfile(data);
      }
    }
  }

  /**
   * The library takes the memory that a profile says it needs: after its number and their count.
   * What lacks a profile's signature (ICC.1:2022, 7.2) is none, and is passed over.
   */
  private void checkProfile(byte[] data) throws IOException {
    int from = PROFILE.length() + 2;
    if (data.length < from + 40 || data[PROFILE.length()] != 1) {
      return;
    }
    String signature = new String(data, from + 36, 4, StandardCharsets.ISO_8859_1);
    long size = ByteBuffer.wrap(data).getInt(from) & 0xFFFFFFFFL;
    if (signature.equals("acsp") && size > file.length) {
      throw new IOException("damaged picture (a colour profile of %d bytes)".formatted(size));
    }
  }
}
