package org.perflow.serve.http;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import org.perflow.io.FormatException;

/** Who may ask. Compares in the same time whether a key is nearly right or not at all. */
public final class ApiKeys {
  private final Map<String, byte[]> digests = new LinkedHashMap<>();

  ApiKeys(Map<String, String> keys) {
    keys.forEach((name, key) -> digests.put(name, digest(key)));
  }

  /**
   * Reads a file of one key a line, {@code NAME:KEY} or {@code KEY} alone; empty lines and those
   * that begin with # say nothing. Keys without a name are called after their line.
   *
   * @throws FormatException where it holds no key, or a name twice
   */
  public static Map<String, String> read(Path file) throws IOException {
    Map<String, String> keys = new LinkedHashMap<>();
    int number = 0;
    for (String line : Files.readAllLines(file)) {
      number++;
      String text = line.strip();
      if (text.isEmpty() || text.startsWith("#")) {
        continue;
      }
      int colon = text.indexOf(':');
      String name = colon < 0 ? "key " + number : text.substring(0, colon).strip();
      if (keys.put(name, text.substring(colon + 1).strip()) != null) {
        throw new FormatException("%s, line %d: %s is there twice".formatted(file, number, name));
      }
    }
    if (keys.isEmpty()) {
      throw new FormatException(file + " holds no key; write one a line, as openssl rand -hex 32");
    }
    return keys;
  }

  boolean isEmpty() {
    return digests.isEmpty();
  }

  /** The name of {@code key}; empty where there is none such. */
  Optional<String> nameOf(String key) {
    byte[] given = digest(key);
    String found = null;
    for (var entry : digests.entrySet()) { // all of them, whichever it is
      if (MessageDigest.isEqual(entry.getValue(), given)) {
        found = entry.getKey();
      }
    }
    return Optional.ofNullable(found);
  }

  static byte[] digest(String text) {
    return digest(text.getBytes(StandardCharsets.UTF_8));
  }

  static byte[] digest(byte[] bytes) {
    try {
      return MessageDigest.getInstance("SHA-256").digest(bytes);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }
}
