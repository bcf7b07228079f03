package org.perflow.serve.http;

import io.javalin.http.Context;
import io.javalin.http.HandlerType;
import java.net.URI;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import org.perflow.serve.Caller;

/**
 * Who may ask what, and what answers tell a browser.
 *
 * <p>Without keys the server is for this machine alone; so are the pages that may ask: those that
 * it served itself. A page elsewhere, or one that points its own name at 127.0.0.1, is refused by
 * the {@code Origin} and {@code Host} that its browser sends.
 */
final class Access {
  private static final String CLIENT = "perflow client";
  private static final Set<String> OPEN =
      Set.of("/", "/page.css", "/page.js", "/icon.svg", "/healthz", "/readyz", "/openapi.json");
  private static final String PAGE_POLICY =
      "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:;"
          + " connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

  private final ServerOptions options;
  private final ApiKeys keys;

  Access(ServerOptions options) {
    this.options = options;
    this.keys = new ApiKeys(options.keys());
  }

  /** Before each request. */
  void check(Context ctx) {
    ctx.header("X-Content-Type-Options", "nosniff");
    ctx.header("X-Frame-Options", "DENY");
    ctx.header("Referrer-Policy", "no-referrer");
    ctx.header("Cross-Origin-Opener-Policy", "same-origin");
    ctx.header("Content-Security-Policy", PAGE_POLICY);
    ctx.header("Cache-Control", "no-store");
    checkHost(ctx);
    checkOrigin(ctx);
    if (ctx.method().equals(HandlerType.OPTIONS)) {
      ctx.status(204).skipRemainingHandlers();
      return;
    }
    ctx.attribute(CLIENT, client(ctx));
  }

  /** Where only this machine may ask, names of others are a trick of DNS. */
  private void checkHost(Context ctx) {
    if (options.isLoopback() && keys.isEmpty()) {
      String host = String.valueOf(ctx.host()).replaceFirst(":\\d+$", "");
      if (!ServerOptions.isLoopback(host.toLowerCase(Locale.ROOT))) {
        throw new Problem(403, "this server is for this machine alone; ask for localhost", null);
      }
    }
  }

  private void checkOrigin(Context ctx) {
    String origin = ctx.header("Origin");
    if (origin == null) {
      return;
    }
    ctx.header("Vary", "Origin");
    if (options.origins().contains(origin)) {
      ctx.header("Access-Control-Allow-Origin", origin);
      ctx.header("Access-Control-Allow-Headers", "Authorization, Content-Type, Idempotency-Key");
      ctx.header("Access-Control-Allow-Methods", "GET, POST, DELETE");
      ctx.header("Access-Control-Expose-Headers", "Retry-After, X-Perflow-Model, X-Perflow-Job");
    } else if (!isOwn(origin, ctx)) {
      throw new Problem(
          403, "pages of this site may not ask; the server's owner can list it (--origin)", null);
    }
  }

  private static boolean isOwn(String origin, Context ctx) {
    try {
      return String.valueOf(URI.create(origin).getAuthority()).equals(ctx.host());
    } catch (IllegalArgumentException e) {
      return false;
    }
  }

  private String client(Context ctx) {
    if (keys.isEmpty()) {
      return ctx.ip();
    }
    String path = ctx.path();
    if (OPEN.contains(path) || path.startsWith("/files/")) { // of names that nobody guesses
      return ctx.ip();
    }
    String header = ctx.header("Authorization");
    boolean bearer = header != null && header.regionMatches(true, 0, "Bearer ", 0, 7);
    return (bearer ? keys.nameOf(header.substring(7).strip()) : Optional.<String>empty())
        .orElseThrow(
            () -> {
              ctx.header("WWW-Authenticate", "Bearer");
              return new Problem(
                  401,
                  header == null
                      ? "no API key; send it as Authorization: Bearer KEY"
                      : "this API key is not known here",
                  null);
            });
  }

  /** Who asks. */
  static String clientOf(Context ctx) {
    String client = ctx.attribute(CLIENT);
    return client == null ? ctx.ip() : client;
  }

  /** Who asks, for this content; {@code waits} as {@link Caller} has it. */
  static Caller caller(Context ctx, byte[] content, boolean waits) {
    String key = ctx.header("Idempotency-Key");
    return new Caller(
        clientOf(ctx),
        key == null || key.isBlank() ? null : key,
        Body.fingerprint(ctx.path(), content),
        waits);
  }
}
