package org.perflow.data;

import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.DigestInputStream;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.HexFormat;
import org.apache.commons.compress.archivers.tar.TarArchiveEntry;
import org.apache.commons.compress.archivers.tar.TarArchiveInputStream;
import org.apache.commons.compress.compressors.gzip.GzipCompressorInputStream;
import org.perflow.io.AtomicFiles;
import org.perflow.io.Inside;

/**
 * A package of the npm registry, pinned by name, version and the SHA-256 of its archive, so that
 * everybody builds the same data set.
 */
public record NpmPackage(String name, String version, String sha256) {

  /** The archive's name as {@code npm pack} writes it, without {@code .tgz}. */
  public String stem() {
    return name.replace("@", "").replace('/', '-') + "-" + version;
  }

  /**
   * The folder with the package's files: found unpacked below {@code packages} or fetched there
   * with the ordinary npm client.
   */
  public Path fetch(Path packages) throws IOException {
    Path home = packages.resolve(stem());
    Path content = home.resolve("package");
    if (Files.isRegularFile(content.resolve("package.json"))) {
      return content;
    }
    Path tgz = packages.resolve(stem() + ".tgz");
    if (!Files.isRegularFile(tgz)) {
      pack(packages);
    }
    check(tgz);
    Path prepared = Files.createTempDirectory(packages, stem() + ".part");
    unpack(tgz, prepared);
    AtomicFiles.replaceDirectory(prepared, home);
    return content;
  }

  private void pack(Path packages) throws IOException {
    Files.createDirectories(packages);
    Path log = Files.createTempFile(packages, "npm", ".log");
    try {
      Process npm =
          new ProcessBuilder("npm", "pack", "--silent", name + "@" + version)
              .directory(packages.toFile())
              .redirectErrorStream(true)
              .redirectOutput(log.toFile())
              .start();
      int code = npm.waitFor();
      if (code != 0) {
        throw new IOException(
            "npm pack %s@%s failed (exit code %d): %s; fetch it elsewhere and name the folder that it is in"
                .formatted(
                    name, version, code, Files.readString(log, StandardCharsets.UTF_8).strip()));
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted while fetching " + name, e);
    } finally {
      Files.deleteIfExists(log);
    }
  }

  private void check(Path tgz) throws IOException {
    MessageDigest digest;
    try {
      digest = MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
    try (InputStream in = new DigestInputStream(Files.newInputStream(tgz), digest)) {
      in.transferTo(OutputStream.nullOutputStream());
    }
    String got = HexFormat.of().formatHex(digest.digest());
    if (!got.equals(sha256)) {
      throw new IOException(
          "%s: SHA-256 is %s, expected %s; delete the file and try again"
              .formatted(tgz, got, sha256));
    }
  }

  private static void unpack(Path tgz, Path target) throws IOException {
    try (TarArchiveInputStream tar =
        new TarArchiveInputStream(
            new GzipCompressorInputStream(new BufferedInputStream(Files.newInputStream(tgz))))) {
      for (TarArchiveEntry entry = tar.getNextEntry(); entry != null; entry = tar.getNextEntry()) {
        Path file = Inside.path(target, entry.getName().replaceFirst("/$", ""), tgz);
        if (!(entry.isFile() || entry.isDirectory())) {
          throw new IOException("%s: refused member %s".formatted(tgz, entry.getName()));
        }
        if (entry.isFile()) {
          Files.createDirectories(file.getParent());
          Files.copy(tar, file);
        }
      }
    }
  }
}
