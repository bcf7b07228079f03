package org.perflow.io.picture;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.Set;

/**
 * TIFF 6.0: the first picture of a file, in grey, RGB or of a palette. What else TIFF can be is
 * refused by name, since a reader that does not know it shows other colours.
 */
final class TiffFile {
  private static final int WIDTH = 256;
  private static final int HEIGHT = 257;
  private static final int BITS = 258;
  private static final int COMPRESSION = 259;
  private static final int COLOURS = 262;
  private static final int SAMPLES = 277;
  private static final int PLANAR = 284;
  private static final int TILE_WIDTH = 322;
  private static final int TILE_HEIGHT = 323;
  private static final int EXTRA_SAMPLES = 338;
  private static final int SAMPLE_FORMAT = 339;
  private static final int XMP = 700;
  private static final int PROFILE = 34675;

  /** None, CCITT of three kinds, LZW, deflate of two numbers, PackBits. */
  private static final Set<Long> COMPRESSIONS = Set.of(1L, 2L, 3L, 4L, 5L, 8L, 32946L, 32773L);

  private static final int MAX_PALETTE = 3;

  private TiffFile() {}

  static EncodedPicture open(byte[] file) throws IOException {
    TiffTags tags = new TiffTags(ByteBuffer.wrap(file));
    check("colours", tags.value(COLOURS, -1), tags.value(COLOURS, -1) <= MAX_PALETTE);
    check(
        "compression",
        tags.value(COMPRESSION, 1),
        COMPRESSIONS.contains(tags.value(COMPRESSION, 1)));
    long[] bits = tags.values(BITS);
    check(
        "bits",
        Arrays.toString(bits),
        Arrays.stream(bits).allMatch(b -> b == bits[0] && Set.of(1L, 4L, 8L, 16L).contains(b)));
    check(
        "sample format",
        tags.value(SAMPLE_FORMAT, 1),
        Arrays.stream(tags.values(SAMPLE_FORMAT)).allMatch(format -> format == 1));
    long samples = tags.value(SAMPLES, 1);
    check("samples", samples, samples >= 1 && samples <= 4);
    long extra = tags.value(EXTRA_SAMPLES, 2); // 1 and 2: how opaque; 0: anything else
    check("extra samples", extra, extra == 1 || extra == 2);
    check("planes", tags.value(PLANAR, 1), tags.value(PLANAR, 1) == 1);
    for (int side : new int[] {TILE_WIDTH, TILE_HEIGHT}) {
      long tile = tags.value(side, 16);
      check("tiles", tile, tile >= 16 && tile <= 4096);
    }
    return new EncodedPicture(
        side(tags, WIDTH),
        side(tags, HEIGHT),
        Orientation.of(file, tags.bytes(XMP)),
        tags.bytes(PROFILE),
        () -> EncodedPicture.decode("tiff", file));
  }

  private static int side(TiffTags tags, int tag) {
    return (int) Math.min(tags.value(tag, 0), Integer.MAX_VALUE);
  }

  private static void check(String what, Object value, boolean known) throws IOException {
    if (!known) {
      throw new IOException(
          "TIFF of " + what + " " + value + " is not read; convert the picture to PNG");
    }
  }
}
