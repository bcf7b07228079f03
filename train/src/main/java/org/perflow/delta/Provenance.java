package org.perflow.delta;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.perflow.io.Fingerprint;
import org.perflow.io.Json;

/**
 * How an artefact came to be; saved beside it as {@code provenance.json}.
 *
 * @param made when, UTC
 * @param perflow version of this software
 * @param commit of its source, where the launcher says (system property {@code perflow.commit})
 * @param java version
 * @param system operating system and processor
 * @param base the weights it started from; null from scratch
 * @param data the shards it learned from
 * @param config effective settings
 */
public record Provenance(
    String made,
    String perflow,
    @Nullable String commit,
    String java,
    String system,
    @Nullable Source base,
    List<Source> data,
    JsonNode config) {
  /** A file by name, without its folder, and hash. */
  public record Source(String file, String sha256) {
    /** Reads and hashes it. */
    public static Source of(Path file) throws IOException {
      return new Source(String.valueOf(file.getFileName()), Fingerprint.of(file));
    }
  }

  /** Of an artefact that is made now. */
  public static Provenance of(@Nullable Path base, List<Path> data, JsonNode config)
      throws IOException {
    List<Source> sources = new ArrayList<>();
    for (Path file : data) {
      sources.add(Source.of(file));
    }
    return new Provenance(
        Instant.now().truncatedTo(ChronoUnit.SECONDS).toString(),
        version(),
        System.getProperty("perflow.commit"),
        Runtime.version().toString(),
        System.getProperty("os.name") + " " + System.getProperty("os.arch"),
        base == null ? null : Source.of(base),
        List.copyOf(sources),
        config);
  }

  /**
   * Of weights that are made now from {@code base} and a file of others.
   *
   * @param did what was done, such as "apply"
   * @param scale factor of the other's weights
   */
  public static Provenance of(Path base, String did, Path with, double scale) throws IOException {
    ObjectNode how = Json.MAPPER.createObjectNode();
    how.put("did", did);
    how.put("with", String.valueOf(with.getFileName()));
    how.put("with_sha256", Fingerprint.of(with));
    how.put("scale", scale);
    return of(base, List.of(), how);
  }

  private static String version() {
    String version = Provenance.class.getPackage().getImplementationVersion();
    return version == null ? "0.1.0-SNAPSHOT" : version;
  }

  /** Versions of this software and of Java, for reports. */
  public static String software() {
    return "perflow " + version() + ", Java " + Runtime.version();
  }

  /** Writes {@code provenance.json} into {@code folder}. */
  public void write(Path folder) throws IOException {
    Json.write(folder.resolve("provenance.json"), this);
  }

  /** For the header of a weights file. */
  public Map<String, String> asMetadata() {
    return Map.of("perflow_provenance", Json.MAPPER.valueToTree(this).toString());
  }
}
