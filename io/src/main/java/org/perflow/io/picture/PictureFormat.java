package org.perflow.io.picture;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Optional;

/** The formats that are read, told by how a file begins and never by its name. */
public enum PictureFormat {
  PNG(PngFile::open, "\u0089PNG\r\n\u001a\n"),
  JPEG(JpegFile::open, "\u00ff\u00d8\u00ff"),
  WEBP(WebpFile::open, "RIFF????WEBP"),
  GIF(GifFile::open, "GIF87a", "GIF89a"),
  BMP(BmpFile::open, "BM"),
  TIFF(TiffFile::open, "II*\0", "MM\0*");

  /** Reads what a file says about itself. */
  interface Opener {
    EncodedPicture open(byte[] file) throws IOException;
  }

  private final Opener opener;
  private final String[] signatures;

  PictureFormat(Opener opener, String... signatures) {
    this.opener = opener;
    this.signatures = signatures;
  }

  /** The format of {@code file}; empty where it is none of these. */
  public static Optional<PictureFormat> of(byte[] file) {
    return Arrays.stream(values())
        .filter(format -> Arrays.stream(format.signatures).anyMatch(s -> begins(file, s)))
        .findFirst();
  }

  EncodedPicture open(byte[] file) throws IOException {
    return opener.open(file);
  }

  /** Whether {@code file} begins with the Latin-1 {@code signature}, in which ? is any byte. */
  static boolean begins(byte[] file, String signature) {
    byte[] expected = signature.getBytes(StandardCharsets.ISO_8859_1);
    if (file.length < expected.length) {
      return false;
    }
    for (int i = 0; i < expected.length; i++) {
      if (expected[i] != '?' && expected[i] != file[i]) {
        return false;
      }
    }
    return true;
  }
}
