package org.perflow.io.picture;

import java.io.IOException;
import java.util.Arrays;
import java.util.Optional;

/** The formats that are read, told by how a file begins and never by its name. */
public enum PictureFormat {
  PNG(PngFile::open, PngChunks.SIGNATURE),
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
        .filter(format -> Arrays.stream(format.signatures).anyMatch(s -> Signature.begins(file, s)))
        .findFirst();
  }

  EncodedPicture open(byte[] file) throws IOException {
    return opener.open(file);
  }
}
