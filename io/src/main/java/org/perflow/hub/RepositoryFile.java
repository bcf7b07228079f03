package org.perflow.hub;

import java.io.IOException;
import java.io.InputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;

/**
 * A file of a repository.
 *
 * @param path in the repository, with slashes
 * @param size bytes
 * @param gitHash git's sha1 of what is in the repository; empty where nobody said
 * @param sha256 of the content of a large file, which git has a pointer of (git-lfs); null of
 *     others
 */
record RepositoryFile(String path, long size, String gitHash, @Nullable String sha256) {
  private static final Pattern HASH = Pattern.compile("[0-9a-f]{40}|[0-9a-f]{64}");

  /** That of its content, by which the cache names it. */
  String hash() {
    return sha256 == null ? gitHash : sha256;
  }

  /** Whether {@link #hash} is one that files can be checked by; it becomes a file's name. */
  boolean hasHash() {
    return HASH.matcher(hash()).matches();
  }

  /** The same hash of what the first {@link #size} bytes of a file are. */
  String hashOf(Path file) throws IOException {
    MessageDigest digest = digest(sha256 == null ? "SHA-1" : "SHA-256");
    if (sha256 == null) { // git hashes a header, too
      digest.update(("blob " + size + "\0").getBytes(StandardCharsets.US_ASCII));
    }
    byte[] buffer = new byte[1 << 16];
    try (InputStream in = Files.newInputStream(file)) {
      for (long left = size; left > 0; ) {
        int count = in.read(buffer, 0, (int) Math.min(buffer.length, left));
        if (count < 0) {
          break;
        }
        digest.update(buffer, 0, count);
        left -= count;
      }
    }
    return HexFormat.of().formatHex(digest.digest());
  }

  private static MessageDigest digest(String algorithm) {
    try {
      return MessageDigest.getInstance(algorithm);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has " + algorithm, e);
    }
  }
}
