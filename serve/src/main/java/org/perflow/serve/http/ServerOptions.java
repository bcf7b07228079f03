package org.perflow.serve.http;

import io.soabase.recordbuilder.core.RecordBuilder;
import java.nio.file.Path;
import java.time.Duration;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.perflow.serve.EngineOptions;

/**
 * Settings of a {@link PictureServer}. Immutable.
 *
 * @param engine what draws
 * @param host address to listen at
 * @param port 0 for a free one
 * @param keys name to API key; whoever has none of them is refused. Empty: all may draw
 * @param noAuth says that all may draw where others than this machine can ask: without keys that is
 *     refused otherwise
 * @param origins of other sites' pages that may ask, as {@code https://example.org}
 * @param bodyBytes most bytes of a request
 * @param drain how long {@link PictureServer#drain} waits for jobs
 */
@RecordBuilder
public record ServerOptions(
    EngineOptions engine,
    String host,
    int port,
    Map<String, String> keys,
    boolean noAuth,
    List<String> origins,
    int bodyBytes,
    Duration drain)
    implements ServerOptionsBuilder.With {

  private static final Set<String> LOOPBACK = Set.of("localhost", "127.0.0.1", "::1", "[::1]");
  private static final int SHORTEST_KEY = 16;
  private static final Duration LONGEST_DRAIN = Duration.ofDays(1);

  public ServerOptions {
    keys = Map.copyOf(keys);
    origins = List.copyOf(origins);
    if (port < 0 || port > 65_535) {
      throw new IllegalArgumentException("port is " + port + "; want 0 (any) to 65535");
    }
    if (bodyBytes < 1 << 10) {
      throw new IllegalArgumentException(
          "requests of %d bytes at most; want 1024 or more".formatted(bodyBytes));
    }
    if (!isLoopback(host) && keys.isEmpty() && !noAuth) {
      throw new IllegalArgumentException(
          "%s can be reached from other machines, and there are no API keys: give a file of keys, or say --no-auth"
              .formatted(host));
    }
    if (drain.isNegative() || drain.compareTo(LONGEST_DRAIN) > 0) {
      throw new IllegalArgumentException(
          "drain is %d seconds; want 0 to a day".formatted(drain.toSeconds()));
    }
    keys.forEach(
        (name, key) -> {
          if (key.length() < SHORTEST_KEY) {
            throw new IllegalArgumentException(
                "API key '%s' has %d characters; want %d or more, as openssl rand -hex 32 makes"
                    .formatted(name, key.length(), SHORTEST_KEY));
          }
        });
  }

  /** One model at 127.0.0.1, a free port, no keys, requests of 32 MiB. */
  public static ServerOptions of(Path model) {
    return of(EngineOptions.of(model));
  }

  /** The same for any engine. */
  public static ServerOptions of(EngineOptions engine) {
    return new ServerOptions(
        engine, "127.0.0.1", 0, Map.of(), false, List.of(), 32 << 20, Duration.ofSeconds(30));
  }

  /** Whether only this machine can ask. */
  public boolean isLoopback() {
    return isLoopback(host);
  }

  static boolean isLoopback(String host) {
    return LOOPBACK.contains(host) || host.matches("127\\.\\d+\\.\\d+\\.\\d+");
  }
}
