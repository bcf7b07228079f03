package org.perflow.io.picture;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.awt.Color;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import java.util.zip.Deflater;
import java.util.zip.DeflaterOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

/** Pictures made to take time or memory, and ones that are cut off: refused at once, by a word. */
@Timeout(value = 2, unit = TimeUnit.MINUTES) // a busy machine took 18 s to start reading pictures
class HostilePictureTest {
  private static final Path PICTURES = Path.of("src/test/resources/pictures");

  private static byte[] file(String name) throws IOException {
    return Files.readAllBytes(PICTURES.resolve(name));
  }

  private static void assertRefused(byte[] file, String... words) {
    assertThatThrownBy(() -> PictureDecoder.decode(file, Color.WHITE))
        .isInstanceOf(IOException.class)
        .hasMessageContainingAll(words);
  }

  static Stream<String> bombs() throws IOException {
    try (Stream<Path> files = Files.list(PICTURES.resolve("hostile"))) {
      return files.map(file -> file.getFileName().toString()).sorted().toList().stream();
    }
  }

  /** Under 1 kB each, 14,000 x 14,000 pixels by their headers. */
  @ParameterizedTest
  @MethodSource("bombs")
  void refusesWhatNoMemoryHolds(String name) throws IOException {
    assertRefused(file("hostile/" + name), "196000000 pixels (14000 x 14000), expected at most");
  }

  /** The same within the limit: no 379 bytes hold 64 million pixels. */
  @ParameterizedTest
  @ValueSource(strings = {"bomb.jpg", "progressive.jpg", "vp8-zero.webp"})
  void refusesWhatTheFileCannotHold(String name) throws IOException {
    byte[] bytes = file("hostile/" + name);
    int found = 0;
    boolean little = name.endsWith("webp");
    for (int i = 0; i + 3 < bytes.length; i++) { // wherever 14000 stands twice
      ByteBuffer data = ByteBuffer.wrap(bytes);
      short side = little ? Short.reverseBytes((short) 14000) : 14000;
      if (data.getShort(i) == side && data.getShort(i + 2) == side) {
        short smaller = little ? Short.reverseBytes((short) 8000) : 8000;
        data.putShort(i, smaller).putShort(i + 2, smaller);
        found++;
      }
    }
    assertThat(found).isEqualTo(1);
    assertRefused(bytes, "64000000 pixels (8000 x 8000) cannot be in its " + bytes.length);
  }

  @Test
  void aPictureOfOneColourMayBeSmall() throws IOException {
    BufferedImage white = new BufferedImage(3840, 2160, BufferedImage.TYPE_BYTE_BINARY);
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    PngText.write(out, white, Map.of());
    assertThat(out.size()).isLessThan(3840 * 2160 / 2048);
    assertThat(PictureDecoder.decode(out.toByteArray(), Color.WHITE).getWidth()).isEqualTo(3840);
  }

  // ---------------------------------------------------------------- PNG texts and profiles

  private static byte[] chunk(String type, byte[] data) {
    byte[] name = type.getBytes(StandardCharsets.ISO_8859_1);
    CRC32 sum = new CRC32();
    sum.update(name);
    sum.update(data);
    return ByteBuffer.allocate(data.length + 12)
        .putInt(data.length)
        .put(name)
        .put(data)
        .putInt((int) sum.getValue())
        .array();
  }

  /** 128 MiB of one letter, in some 128 kB. */
  private static byte[] deflated() throws IOException {
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    try (var deflater = new DeflaterOutputStream(out, new Deflater(9))) {
      byte[] part = new byte[1 << 20];
      Arrays.fill(part, (byte) 'A');
      for (int i = 0; i < 128; i++) {
        deflater.write(part);
      }
    }
    return out.toByteArray();
  }

  private static byte[] png(String type, String before, byte[] data) throws IOException {
    byte[] plain = file("pillow/p.png"); // of a palette: the JDK reads all metadata of these
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.write(plain, 0, 33); // signature, IHDR
    ByteArrayOutputStream content = new ByteArrayOutputStream();
    content.writeBytes(before.getBytes(StandardCharsets.ISO_8859_1));
    content.writeBytes(data);
    out.writeBytes(chunk(type, content.toByteArray()));
    out.write(plain, 33, plain.length - 33);
    return out.toByteArray();
  }

  @ParameterizedTest
  @CsvSource({ // 0 and 1 stand for bytes
    "zTXt, caption00",
    "iTXt, caption010en00",
    "zTXt, Raw profile type exif00",
    "iTXt, XML:com.adobe.xmp01000"
  })
  void aTextThatUnfoldsIsNeverUnfolded(String type, String before) throws IOException {
    byte[] file = png(type, before.replace('0', '\0').replace('1', '\1'), deflated());
    assertThat(PictureDecoder.decode(file, Color.WHITE).getWidth()).isEqualTo(18);
    assertThatThrownBy(() -> PngText.read(file))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("unfold to more than 16777216");
  }

  @Test
  void aProfileThatUnfoldsIsRefused() throws IOException {
    assertRefused(png("iCCP", "name\0\0", deflated()), "unfold to more than");
  }

  // ---------------------------------------------------------------- JPEG

  @Test
  void manyScansAreRefused() throws IOException {
    byte[] plain = file("pillow/progressive.jpg");
    int scan = 0;
    while (plain[scan] != (byte) 0xFF || plain[scan + 1] != (byte) 0xDA) {
      scan++;
    }
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.write(plain, 0, scan);
    for (int i = 0; i < 10_000; i++) {
      out.write(plain, scan, 12);
    }
    out.write(plain, scan, plain.length - scan);
    assertRefused(out.toByteArray(), "scans, expected at most");
  }

  @Test
  void aProfileThatClaimsMoreThanTheFileIsRefused() throws IOException {
    byte[] file = file("pillow/profile-wide.jpg");
    String text = new String(file, StandardCharsets.ISO_8859_1);
    ByteBuffer.wrap(file).putInt(text.indexOf("ICC_PROFILE\0") + 14, Integer.MAX_VALUE);
    assertRefused(file, "a colour profile of 2147483647 bytes");
  }

  // ---------------------------------------------------------------- cut off, and not read

  /** Part of each is missing; libjpeg, for one, fills it with grey. */
  @ParameterizedTest
  @ValueSource(
      strings = {
        "rgb.png",
        "420.jpg",
        "progressive.jpg",
        "cmyk.jpg",
        "lossy.webp",
        "lossless.webp",
        "part-lossy.webp",
        "rgb.gif",
        "rgb.bmp",
        "rgb.tif"
      })
  void refusesWhatIsCutOff(String name) throws IOException {
    byte[] whole = file("pillow/" + name);
    for (double part : new double[] {0.2, 0.5, 0.9}) {
      assertRefused(Arrays.copyOf(whole, (int) (whole.length * part)), "damaged picture");
    }
  }

  @Test
  void refusesAJpegWhoseDataEndTooEarly() throws IOException {
    byte[] whole = file("pillow/420.jpg");
    byte[] cut = Arrays.copyOf(whole, whole.length * 3 / 4);
    cut[cut.length - 2] = (byte) 0xFF; // an end all the same
    cut[cut.length - 1] = (byte) 0xD9;
    assertRefused(cut, "premature end");
  }

  @Test
  void refusesWhatItWouldShowInOtherColours() throws IOException {
    byte[] tiff = file("pillow/white-is-0.tif");
    tiff[10 + 4 * 12 + 8] = 5; // entries of 12 bytes; the fifth says what colours there are
    assertRefused(tiff, "TIFF of colours 5 is not read", "convert");
    byte[] bmp = file("pillow/rgb.bmp");
    bmp[30] = 4; // JPEG inside
    assertRefused(bmp, "inside a BMP is not read");
  }

  @ParameterizedTest
  @CsvSource({"....ftypavif, AVIF", "....ftypheic, HEIC", "8BPS, Photoshop"})
  void namesFormatsThatAreNotRead(String start, String name) {
    byte[] file = (start + "....").getBytes(StandardCharsets.ISO_8859_1);
    assertRefused(file, name + " is not read; convert it to PNG");
  }
}
