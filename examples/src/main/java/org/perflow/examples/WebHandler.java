package org.perflow.examples;

import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpHandler;
import com.sun.net.httpserver.HttpServer;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import javax.imageio.ImageIO;
import org.perflow.pipeline.Pipeline;
import org.perflow.pipeline.Request;

/**
 * Pictures from a web handler: {@code GET /draw?red+apple} answers with a PNG. The handler is the
 * JDK's; one of any framework looks the same. The pipeline is loaded once and shared: it is
 * thread-safe, and one worker at a time keeps all cores busy.
 */
public final class WebHandler implements HttpHandler {
  private final Pipeline pipeline;

  /** Draws with {@code pipeline}, which stays the caller's. */
  public WebHandler(Pipeline pipeline) {
    this.pipeline = pipeline;
  }

  /** Takes a model's folder and a port. */
  public static void main(String[] args) throws IOException {
    Pipeline pipeline = Pipeline.load(Path.of(args[0]));
    HttpServer server = start(pipeline, Integer.parseInt(args[1]));
    System.out.println("http://localhost:" + server.getAddress().getPort() + "/draw?red+apple");
  }

  /**
   * A server on the loopback address; port 0 takes a free one. Stop it, then close the pipeline.
   */
  public static HttpServer start(Pipeline pipeline, int port) throws IOException {
    InetSocketAddress address = new InetSocketAddress(InetAddress.getLoopbackAddress(), port);
    HttpServer server = HttpServer.create(address, 0);
    ExecutorService worker =
        Executors.newSingleThreadExecutor(
            work -> {
              Thread thread = new Thread(work, "draw");
              thread.setDaemon(true);
              return thread;
            });
    server.setExecutor(worker);
    server.createContext("/draw", new WebHandler(pipeline));
    server.start();
    return server;
  }

  @Override
  public void handle(HttpExchange exchange) throws IOException {
    String query = exchange.getRequestURI().getRawQuery();
    if (query == null || query.isBlank()) {
      answer(
          exchange,
          400,
          "text/plain",
          "ask for /draw?your+caption".getBytes(StandardCharsets.UTF_8));
      return;
    }
    String caption = URLDecoder.decode(query, StandardCharsets.UTF_8);
    ByteArrayOutputStream png = new ByteArrayOutputStream();
    ImageIO.write(pipeline.draw(Request.of(caption).withSeed(7)), "png", png);
    answer(exchange, 200, "image/png", png.toByteArray());
  }

  private static void answer(HttpExchange exchange, int status, String type, byte[] body)
      throws IOException {
    try (exchange) {
      exchange.getResponseHeaders().set("Content-Type", type);
      exchange.sendResponseHeaders(status, body.length);
      exchange.getResponseBody().write(body);
    }
  }
}
