package org.perflow.serve.http;

import io.javalin.Javalin;
import io.javalin.config.JavalinConfig;
import io.javalin.config.SizeUnit;
import io.javalin.http.Context;
import io.javalin.http.HandlerType;
import io.javalin.http.HttpResponseException;
import io.javalin.json.JavalinJackson;
import io.javalin.router.Endpoint;
import io.micrometer.core.instrument.Timer;
import io.micrometer.core.instrument.binder.jvm.JvmMemoryMetrics;
import io.micrometer.core.instrument.binder.jvm.JvmThreadMetrics;
import io.micrometer.core.instrument.binder.system.ProcessorMetrics;
import io.micrometer.prometheusmetrics.PrometheusConfig;
import io.micrometer.prometheusmetrics.PrometheusMeterRegistry;
import java.io.IOException;
import java.io.InputStream;
import java.io.UncheckedIOException;
import java.time.Duration;
import java.time.Instant;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.eclipse.jetty.server.HttpConfiguration;
import org.eclipse.jetty.server.HttpConnectionFactory;
import org.eclipse.jetty.server.Server;
import org.eclipse.jetty.server.ServerConnector;
import org.eclipse.jetty.server.handler.GracefulHandler;
import org.perflow.io.Json;
import org.perflow.serve.Engine;
import org.perflow.serve.Job;
import org.perflow.serve.RefusedException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Pictures over HTTP, and the page at {@code /}:
 *
 * <pre>{@code
 * ServerOptions options = ServerOptions.of(Path.of("models/emoji-64-perflow"));
 * try (PictureServer server = PictureServer.start(options.withPort(7860))) {
 *   server.awaitReady(Duration.ofMinutes(2)); // http://127.0.0.1:7860/ is the page
 *   server.drain(); // when it is time to end
 * }
 * }</pre>
 *
 * <p>Starting it loads the default model in the background; {@link #close} ends at once, {@link
 * #drain} first waits for what is being drawn. Thread-safe.
 */
public final class PictureServer implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(PictureServer.class);
  private static final String BEGUN = "perflow begun";
  private static final long RETRY_SECONDS = 5; // as long as nothing was drawn to tell by
  private static final long MOST_RETRY_SECONDS = 600;
  private static final int CLIENT_GONE = 499; // as nginx logs it; nobody reads the answer
  private static final Duration LAST_ANSWERS = Duration.ofSeconds(5);
  private static final Duration IDLE = Duration.ofSeconds(60);

  /** Path, file beside this class, type. */
  private static final List<List<String>> PAGE =
      List.of(
          List.of("/", "page/page.html", "text/html; charset=utf-8"),
          List.of("/page.css", "page/page.css", "text/css; charset=utf-8"),
          List.of("/page.js", "page/page.js", "text/javascript; charset=utf-8"),
          List.of("/icon.svg", "page/icon.svg", "image/svg+xml"),
          List.of("/openapi.json", "openapi.json", "application/json"));

  private final ServerOptions options;
  private final PrometheusMeterRegistry registry =
      new PrometheusMeterRegistry(PrometheusConfig.DEFAULT);
  private final Engine engine;
  private final List<Dialect> dialects;
  private final Access access;
  private final Javalin http;

  private PictureServer(ServerOptions options) throws IOException {
    this.options = options;
    access = new Access(options);
    new JvmMemoryMetrics().bindTo(registry);
    new JvmThreadMetrics().bindTo(registry);
    new ProcessorMetrics().bindTo(registry);
    engine = new Engine(options.engine(), registry);
    int pixels = options.engine().limits().pixels();
    Body body = new Body(options.bodyBytes(), pixels);
    dialects =
        List.of(
            new Jobs(engine, body),
            new OpenAi(engine, body),
            new A1111(engine, body),
            new OllamaImages(engine, body));
    try {
      engine.restore(source -> Jobs.request(new Fields(source, pixels), engine));
      http = Javalin.create(this::configure);
    } catch (IOException | RuntimeException e) {
      engine.close();
      throw e;
    }
  }

  /**
   * Listens, and loads the default model beside that.
   *
   * @throws IOException where a model is not there, or the address cannot be had
   */
  public static PictureServer start(ServerOptions options) throws IOException {
    PictureServer server = new PictureServer(options);
    try {
      server.http.start();
      return server;
    } catch (RuntimeException e) {
      server.engine.close();
      throw new IOException(
          "cannot listen at %s, port %d: %s"
              .formatted(
                  options.host(),
                  options.port(),
                  Objects.requireNonNullElse(e.getCause(), e).getMessage()),
          e);
    }
  }

  /** The port, also where 0 was asked for. */
  public int port() {
    return http.port();
  }

  /** Where the page is. */
  public String url() {
    return "http://%s:%d/".formatted(options.host(), port());
  }

  /** What draws. */
  public Engine engine() {
    return engine;
  }

  /** Methods and paths, as {@code GET /api/jobs/{id}}. */
  List<String> routes() {
    return http.unsafe.internalRouter.allHttpHandlers().stream()
        .map(handler -> handler.endpoint)
        .filter(endpoint -> endpoint.method.isHttpMethod())
        .map(endpoint -> endpoint.method.name() + " " + endpoint.path)
        .toList();
  }

  /** Waits until the default model is loaded and has drawn; false where it is not in time. */
  public boolean awaitReady(Duration patience) throws InterruptedException {
    Instant end = Instant.now().plus(patience);
    while (!engine.isReady() && Instant.now().isBefore(end)) {
      Thread.sleep(20);
    }
    return engine.isReady();
  }

  /**
   * Takes no more jobs and waits for those there are, as long as the options say; then stops.
   * Returns the jobs that were not done.
   */
  public List<Job> drain() throws InterruptedException {
    List<Job> undone = engine.drain(options.drain());
    close();
    return undone;
  }

  @Override
  public void close() {
    engine.stop(); // requests that wait are answered
    http.stop();
    engine.close();
    registry.close();
  }

  // ---------------------------------------------------------------- HTTP

  private void configure(JavalinConfig config) {
    config.startup.showJavalinBanner = false;
    config.startup.showOldJavalinVersionWarning = false;
    config.startup.startupWatcherEnabled = false;
    config.http.maxRequestSize = options.bodyBytes();
    config.http.prefer405over404 = true;
    config.http.defaultContentType = "text/plain";
    config.jsonMapper(new JavalinJackson(Json.MAPPER, false));
    config.jetty.multipartConfig.maxFileSize(options.bodyBytes(), SizeUnit.BYTES);
    config.jetty.multipartConfig.maxTotalRequestSize(options.bodyBytes(), SizeUnit.BYTES);
    config.jetty.multipartConfig.maxInMemoryFileSize(options.bodyBytes(), SizeUnit.BYTES);
    config.jetty.addConnector(this::connector);
    config.jetty.modifyServer(
        server -> { // answers that are on their way arrive before the connections end
          server.setHandler(new GracefulHandler());
          server.setStopTimeout(LAST_ANSWERS.toMillis());
        });
    config.routes.before(this::before);
    config.routes.after(this::after);
    config.routes.get("/healthz", ctx -> ctx.result("ok\n"));
    config.routes.get("/readyz", this::ready);
    config.routes.get(
        "/metrics", ctx -> ctx.contentType("text/plain; version=0.0.4").result(registry.scrape()));
    for (List<String> file : PAGE) {
      byte[] content = resource(file.get(1));
      config.routes.get(file.get(0), ctx -> ctx.contentType(file.get(2)).result(content));
    }
    dialects.forEach(dialect -> dialect.addTo(config.routes));
    config.routes.exception(Problem.class, (problem, ctx) -> refuse(ctx, problem));
    config.routes.exception(
        RefusedException.class, (refused, ctx) -> refuse(ctx, Problem.of(refused)));
    config.routes.exception(
        IllegalArgumentException.class, // what options and requests say of their own values
        (e, ctx) -> refuse(ctx, Problem.bad(null, String.valueOf(e.getMessage()))));
    config.routes.exception(HttpResponseException.class, this::refuse);
    config.routes.exception(Waiting.ClientGoneException.class, (e, ctx) -> ctx.status(CLIENT_GONE));
    config.routes.exception(Exception.class, this::fail);
  }

  private ServerConnector connector(Server server, HttpConfiguration common) {
    HttpConfiguration http = new HttpConfiguration(common);
    http.setSendServerVersion(false);
    ServerConnector connector = new ServerConnector(server, new HttpConnectionFactory(http));
    connector.setHost(options.host().replaceAll("[\\[\\]]", ""));
    connector.setPort(options.port());
    connector.setIdleTimeout(IDLE.toMillis());
    return connector;
  }

  private void before(Context ctx) {
    ctx.attribute(BEGUN, System.nanoTime());
    access.check(ctx);
  }

  private void after(Context ctx) {
    Long begun = ctx.attribute(BEGUN);
    if (begun == null) {
      return;
    }
    Duration took = Duration.ofNanos(System.nanoTime() - begun);
    Endpoint endpoint = ctx.endpoints().matchedHttpEndpoint();
    String route = endpoint == null ? "none" : endpoint.path;
    Timer.builder("http.server.requests")
        .description("Answers, with the time they took")
        .tag(
            "method",
            HandlerType.commonHttp().contains(ctx.method()) ? ctx.method().name() : "other")
        .tag("route", route)
        .tag("status", Integer.toString(ctx.statusCode()))
        .register(registry)
        .record(took);
    if (route.equals("/healthz") || route.equals("/readyz") || route.equals("/metrics")) {
      return; // asked every few seconds
    }
    LOG.info(
        "request method={} path={} status={} seconds={} client=\"{}\"",
        ctx.method(),
        route,
        ctx.statusCode(),
        took.toMillis() / 1e3,
        Access.clientOf(ctx));
  }

  private void ready(Context ctx) {
    Map<String, Object> ready = new LinkedHashMap<>();
    ready.put("ready", engine.isReady());
    ready.put("waiting", engine.waiting());
    ctx.status(engine.isReady() ? 200 : 503).json(ready);
  }

  private void fail(Exception e, Context ctx) {
    LOG.error("request failed path={}", ctx.path(), e);
    refuse(ctx, new Problem(500, "something went wrong; the server's log says what", null));
  }

  /** What Javalin itself refuses. */
  private void refuse(HttpResponseException e, Context ctx) {
    String methods = e.getDetails().get("availableMethods");
    if (methods != null) {
      ctx.header("Allow", methods);
    }
    refuse(ctx, new Problem(e.getStatus(), String.valueOf(e.getMessage()), null));
  }

  /** In the form of the dialect; nothing where an answer is on its way already. */
  private void refuse(Context ctx, Problem problem) {
    if (ctx.res().isCommitted()) {
      return;
    }
    if (problem.status() == 429 || problem.status() == 503) {
      long seconds = engine.backlog().map(Duration::toSeconds).orElse(RETRY_SECONDS);
      ctx.header("Retry-After", Long.toString(Math.max(1, Math.min(MOST_RETRY_SECONDS, seconds))));
    }
    if (problem.status() == 500 || problem.status() == 504) {
      ctx.header("X-Should-Retry", "false"); // OpenAI's clients would: it ends the same again
    }
    ctx.status(problem.status());
    ctx.json(
        dialects.stream()
            .filter(dialect -> dialect.speaks(ctx.path()))
            .findFirst()
            .orElse(dialects.get(0))
            .error(problem));
  }

  private static byte[] resource(String name) {
    try (InputStream in = PictureServer.class.getResourceAsStream(name)) {
      return Objects.requireNonNull(in, name).readAllBytes();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }
}
