package org.perflow.data;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;

/** A package of Debian's archive, which apt checks against its signatures. */
record DebianPackage(String name) {

  /** What was fetched: version and the folder it was unpacked to. */
  record Content(String version, Path folder) {}

  /**
   * Fetches and unpacks it below {@code folder} with the ordinary clients; nothing is installed.
   *
   * @param otherwise what to do where that fails, for the message
   */
  Content fetch(Path folder, String otherwise) throws IOException {
    run(folder, otherwise, "apt-get", "download", name);
    Path deb;
    try (Stream<Path> files = Files.list(folder)) {
      deb =
          files
              .filter(file -> file.toString().endsWith(".deb"))
              .findFirst()
              .orElseThrow(() -> new IOException("apt-get download " + name + " wrote no .deb"));
    }
    Path content = Files.createDirectory(folder.resolve("content"));
    run(folder, otherwise, "dpkg-deb", "-x", deb.toString(), content.toString());
    String version = deb.getFileName().toString().split("_")[1]; // NAME_VERSION_ARCHITECTURE.deb
    return new Content(version.replace("%3a", ":"), content);
  }

  private void run(Path folder, String otherwise, String... command) throws IOException {
    Path log = folder.resolve("log");
    Process process;
    try {
      process =
          new ProcessBuilder(command)
              .directory(folder.toFile())
              .redirectErrorStream(true)
              .redirectOutput(log.toFile())
              .start();
    } catch (IOException e) {
      throw new IOException(
          "fetching the Debian package %s needs %s, which is not here; %s"
              .formatted(name, command[0], otherwise),
          e);
    }
    try {
      int code = process.waitFor();
      if (code != 0) {
        throw new IOException(
            "%s failed (exit code %d): %s; %s"
                .formatted(
                    String.join(" ", List.of(command).subList(0, 2)) + " " + name,
                    code,
                    Files.readString(log, StandardCharsets.UTF_8).strip(),
                    otherwise));
      }
    } catch (InterruptedException e) {
      process.destroy();
      Thread.currentThread().interrupt();
      throw new IOException("interrupted while fetching " + name, e);
    }
  }
}
