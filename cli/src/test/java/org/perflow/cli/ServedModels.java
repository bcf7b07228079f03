package org.perflow.cli;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;

/** A hub in a process of its own, which serves folders by names. */
final class ServedModels implements AutoCloseable {
  private final Process server;
  private final String endpoint;

  private ServedModels(Process server, String endpoint) {
    this.server = server;
    this.endpoint = endpoint;
  }

  /** Starts one. */
  static ServedModels of(String... namesAndFolders) throws IOException {
    List<String> command =
        new ArrayList<>(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp",
                System.getProperty("java.class.path"),
                Path.of("../io/src/test/java/org/perflow/hub/HubServer.java").toString()));
    command.addAll(List.of(namesAndFolders));
    Process server =
        new ProcessBuilder(command).redirectError(ProcessBuilder.Redirect.INHERIT).start();
    BufferedReader out =
        new BufferedReader(new InputStreamReader(server.getInputStream(), StandardCharsets.UTF_8));
    return new ServedModels(server, Objects.requireNonNull(out.readLine()));
  }

  String endpoint() {
    return endpoint;
  }

  @Override
  public void close() {
    server.destroyForcibly();
  }
}
