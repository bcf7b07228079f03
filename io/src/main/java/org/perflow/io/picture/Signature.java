package org.perflow.io.picture;

import java.nio.charset.StandardCharsets;

/** How a file, or a part of one, begins. */
final class Signature {
  private Signature() {}

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
