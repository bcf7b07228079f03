package org.perflow.hub;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import com.sun.net.httpserver.HttpExchange;
import com.sun.net.httpserver.HttpServer;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.InetSocketAddress;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileVisitOption;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.SortedMap;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Stream;

/**
 * A hub for tests: revisions, trees in pages, small files from itself, large ones by a redirect to
 * a store on another host, ranges, tokens, and what goes wrong with all of that. One file, so that
 * {@code java HubServer.java org/name=folder} serves folders, too.
 */
public final class HubServer implements AutoCloseable {
  private static final Pattern LARGE = Pattern.compile(".*\\.(safetensors|bin|ckpt|onnx|msgpack)");
  private static final Pattern API =
      Pattern.compile("/api/models/([^/]+/[^/]+)(?:/(revision|tree)/([^/]+))?");
  private static final Pattern FILE = Pattern.compile("/([^/]+/[^/]+)/resolve/([^/]+)/(.+)");
  private static final Pattern RANGE = Pattern.compile("bytes=(\\d+)-(\\d*)");
  private static final ObjectMapper JSON = new ObjectMapper();

  /** What was asked. */
  record Asked(String method, String path, String range, String token, boolean store) {}

  /**
   * Something that goes wrong with a request, once for each time that it is given.
   *
   * @param status to answer with; 0 = as it should be
   * @param after how many bytes it happens
   */
  record Fault(Kind kind, int status, int after, Map<String, String> headers) {
    enum Kind {
      STATUS,
      CUT,
      SILENCE,
      DAMAGE,
      NO_RANGE
    }

    static Fault status(int status, Map<String, String> headers) {
      return new Fault(Kind.STATUS, status, 0, headers);
    }

    static Fault of(Kind kind, int after) {
      return new Fault(kind, 0, after, Map.of());
    }
  }

  /** A repository: its commits, and who may read it. */
  static final class Repository {
    private final Map<String, SortedMap<String, byte[]>> commits = new HashMap<>();
    private final Map<String, String> refs = new HashMap<>();
    private final Map<String, Long> announced = new HashMap<>();
    private volatile String token = "";
    private volatile boolean gated;

    /** Only for those who have it. */
    Repository secret(String only) {
      token = only;
      return this;
    }

    /** For nobody yet. */
    Repository gated() {
      gated = true;
      return this;
    }

    /** Lies about a size. */
    Repository announce(String path, long size) {
      announced.put(path, size);
      return this;
    }

    String commit(String revision) {
      return commits.containsKey(revision) ? revision : refs.get(revision);
    }
  }

  private final ExecutorService threads =
      Executors.newCachedThreadPool(
          work -> {
            Thread thread = new Thread(work, "test-hub");
            thread.setDaemon(true);
            return thread;
          });
  private final HttpServer hub;
  private final HttpServer store;
  private final Map<String, Repository> repositories = new ConcurrentHashMap<>();
  private final Map<String, String> renamed = new ConcurrentHashMap<>();
  private final Map<String, List<Fault>> faults = new ConcurrentHashMap<>();
  private final List<Asked> asked = new CopyOnWriteArrayList<>();
  private final Map<String, Stored> stored = new ConcurrentHashMap<>();
  private volatile int page = 1000;

  HubServer() throws IOException {
    hub = server("127.0.0.1", this::answer);
    store = server("localhost", this::serve);
  }

  private HttpServer server(String host, Handling handling) throws IOException {
    HttpServer server = HttpServer.create(new InetSocketAddress(InetAddress.getByName(host), 0), 0);
    server.setExecutor(threads);
    server.createContext(
        "/",
        exchange -> {
          try (exchange) {
            handling.handle(exchange);
          }
        });
    server.start();
    return server;
  }

  private interface Handling {
    void handle(HttpExchange exchange) throws IOException;
  }

  /** What clients are told. */
  URI endpoint() {
    return URI.create("http://127.0.0.1:" + hub.getAddress().getPort());
  }

  /** Makes what is in a folder now the newest commit of a branch. */
  Repository commit(String name, String branch, Path folder) throws IOException {
    SortedMap<String, byte[]> files = new TreeMap<>();
    try (Stream<Path> all = Files.walk(folder, FileVisitOption.FOLLOW_LINKS)) {
      for (Path file : all.filter(Files::isRegularFile).toList()) {
        String path = folder.relativize(file).toString().replace('\\', '/');
        files.put(path, Files.readAllBytes(file));
      }
    }
    return commit(name, branch, files);
  }

  Repository commit(String name, String branch, SortedMap<String, byte[]> files) {
    Repository repository = repositories.computeIfAbsent(name, any -> new Repository());
    StringBuilder all = new StringBuilder();
    files.forEach((path, content) -> all.append(path).append(hash(content)));
    String commit = gitHash(all.toString().getBytes(StandardCharsets.UTF_8));
    repository.commits.put(commit, new TreeMap<>(files));
    repository.refs.put(branch, commit);
    return repository;
  }

  /** The hub sends from an old name to a new one. */
  void rename(String from, String to) {
    renamed.put(from, to);
  }

  /** Entries of a tree in one answer. */
  void pages(int entries) {
    page = entries;
  }

  /** Lets the next requests whose path ends so go wrong, one by one. */
  void fail(String pathEnd, Fault... kinds) {
    faults.computeIfAbsent(pathEnd, any -> new CopyOnWriteArrayList<>()).addAll(List.of(kinds));
  }

  /** What was asked since the last time. */
  List<Asked> asked() {
    List<Asked> all = List.copyOf(asked);
    asked.clear();
    return all;
  }

  @Override
  public void close() {
    hub.stop(0);
    store.stop(0);
    threads.shutdownNow();
  }

  // ---------------------------------------------------------------- the hub

  private void note(HttpExchange exchange, boolean atStore) {
    asked.add(
        new Asked(
            exchange.getRequestMethod(),
            exchange.getRequestURI().getPath(),
            header(exchange, "Range"),
            header(exchange, "Authorization"),
            atStore));
  }

  private static String header(HttpExchange exchange, String name) {
    String value = exchange.getRequestHeaders().getFirst(name);
    return value == null ? "" : value;
  }

  private void answer(HttpExchange exchange) throws IOException {
    note(exchange, false);
    URI address = exchange.getRequestURI();
    Matcher api = API.matcher(address.getRawPath());
    Matcher file = FILE.matcher(address.getRawPath());
    boolean isApi = api.matches();
    if (!isApi && !file.matches()) {
      refuse(exchange, 404, "", "");
      return;
    }
    String name = isApi ? api.group(1) : file.group(1);
    if (renamed.containsKey(name)) {
      String target = address.toString().replace(name, renamed.get(name));
      exchange.getResponseHeaders().set("Location", target);
      exchange.sendResponseHeaders(307, -1);
      return;
    }
    Fault fault = fault(address.getPath());
    if (fault != null && fault.kind == Fault.Kind.STATUS) {
      fault.headers.forEach(exchange.getResponseHeaders()::set);
      exchange.sendResponseHeaders(fault.status, -1);
      return;
    }
    Repository repository = repositories.get(name);
    if (repository == null || !isAllowed(exchange, repository)) {
      refuse(exchange, 401, "RepoNotFound", "Repository not found");
      return;
    }
    String revision = isApi ? api.group(3) : file.group(2);
    String commit = repository.commit(revision == null ? "main" : revision.replace("%2F", "/"));
    if (commit == null) {
      refuse(exchange, 404, "RevisionNotFound", "Invalid rev id");
    } else if (!isApi) {
      file(exchange, repository, commit, decoded(file.group(3)), fault);
    } else if ("tree".equals(api.group(2))) {
      tree(exchange, repository, commit);
    } else {
      info(exchange, name, repository, commit);
    }
  }

  private static String decoded(String path) {
    return URI.create("/" + path).getPath().substring(1);
  }

  private static boolean isAllowed(HttpExchange exchange, Repository repository) {
    return repository.token.isEmpty()
        || header(exchange, "Authorization").equals("Bearer " + repository.token);
  }

  private static void refuse(HttpExchange exchange, int status, String code, String message)
      throws IOException {
    exchange.getResponseHeaders().set("X-Error-Code", code);
    exchange.getResponseHeaders().set("X-Error-Message", message);
    exchange.sendResponseHeaders(status, -1);
  }

  private static void info(HttpExchange exchange, String name, Repository repository, String commit)
      throws IOException {
    ObjectNode json = JSON.createObjectNode().put("_id", "1").put("id", name).put("sha", commit);
    ArrayNode siblings = json.putArray("siblings");
    repository
        .commits
        .get(commit)
        .keySet()
        .forEach(path -> siblings.addObject().put("rfilename", path));
    send(exchange, JSON.writeValueAsBytes(json));
  }

  private void tree(HttpExchange exchange, Repository repository, String commit)
      throws IOException {
    String query = String.valueOf(exchange.getRequestURI().getQuery());
    Matcher cursor = Pattern.compile("cursor=(\\d+)").matcher(query);
    int from = cursor.find() ? Integer.parseInt(cursor.group(1)) : 0;
    List<Map.Entry<String, byte[]>> all =
        new ArrayList<>(repository.commits.get(commit).entrySet());
    ArrayNode entries = JSON.createArrayNode();
    entries.addObject().put("type", "directory").put("path", "unet").put("oid", "0").put("size", 0);
    for (var each : all.subList(from, Math.min(all.size(), from + page))) {
      long size = repository.announced.getOrDefault(each.getKey(), (long) each.getValue().length);
      ObjectNode entry = entries.addObject();
      entry.put("type", "file").put("path", each.getKey()).put("size", size);
      entry.put("oid", gitHash(each.getValue()));
      if (isLarge(each.getKey())) {
        ObjectNode large = entry.putObject("lfs");
        large.put("oid", hash(each.getValue())).put("size", size).put("pointerSize", 134);
      }
    }
    if (from + page < all.size()) {
      String next =
          "%s%s?recursive=true&cursor=%d"
              .formatted(endpoint(), exchange.getRequestURI().getPath(), from + page);
      exchange.getResponseHeaders().set("Link", "<" + next + ">; rel=\"next\"");
    }
    send(exchange, JSON.writeValueAsBytes(entries));
  }

  private static void send(HttpExchange exchange, byte[] json) throws IOException {
    exchange.getResponseHeaders().set("Content-Type", "application/json");
    exchange.sendResponseHeaders(200, json.length);
    exchange.getResponseBody().write(json);
  }

  private void file(
      HttpExchange exchange, Repository repository, String commit, String path, Fault fault)
      throws IOException {
    exchange.getResponseHeaders().set("X-Repo-Commit", commit);
    byte[] content = repository.commits.get(commit).get(path);
    if (repository.gated) {
      refuse(exchange, 403, "GatedRepo", "Access to model is restricted");
    } else if (content == null) {
      refuse(exchange, 404, "EntryNotFound", "Entry not found");
    } else if (isLarge(path)) {
      exchange.getResponseHeaders().set("X-Linked-Etag", "\"" + hash(content) + "\"");
      exchange.getResponseHeaders().set("X-Linked-Size", "" + content.length);
      String at =
          "http://localhost:%d/%s?response-content-disposition=inline; filename=\"%s\""
              .formatted(store.getAddress().getPort(), hash(content), path);
      exchange.getResponseHeaders().set("Location", at); // unescaped, as some servers send it
      stored.put(hash(content), new Stored(path, content));
      exchange.sendResponseHeaders(302, -1);
    } else {
      exchange.getResponseHeaders().set("ETag", "\"" + gitHash(content) + "\"");
      give(exchange, content, fault);
    }
  }

  private static boolean isLarge(String path) {
    return LARGE.matcher(path).matches();
  }

  // ---------------------------------------------------------------- the store

  /** A large file that the hub has sent somebody to. */
  private static final class Stored {
    private final String path;
    private final byte[] content;

    Stored(String path, byte[] content) {
      this.path = path;
      this.content = content;
    }
  }

  private void serve(HttpExchange exchange) throws IOException {
    note(exchange, true);
    Stored file = stored.get(exchange.getRequestURI().getPath().substring(1));
    Fault fault = fault("store:" + file.path);
    if (fault != null && fault.kind == Fault.Kind.STATUS) {
      exchange.sendResponseHeaders(fault.status, -1);
      return;
    }
    exchange.getResponseHeaders().set("ETag", "\"" + hash(file.content) + "\"");
    give(exchange, file.content, fault);
  }

  private Fault fault(String path) {
    for (var each : faults.entrySet()) {
      if (path.endsWith(each.getKey()) && !each.getValue().isEmpty()) {
        return each.getValue().remove(0);
      }
    }
    return null;
  }

  private static void give(HttpExchange exchange, byte[] whole, Fault fault) throws IOException {
    Fault.Kind kind = fault == null ? Fault.Kind.STATUS : fault.kind;
    Matcher range = RANGE.matcher(header(exchange, "Range"));
    byte[] content = whole;
    boolean partial = range.matches() && kind != Fault.Kind.NO_RANGE;
    if (partial) {
      int from = Integer.parseInt(range.group(1));
      int to = range.group(2).isEmpty() ? whole.length : Integer.parseInt(range.group(2)) + 1;
      content = Arrays.copyOfRange(whole, from, to);
      exchange
          .getResponseHeaders()
          .set("Content-Range", "bytes %d-%d/%d".formatted(from, to - 1, whole.length));
    }
    if (exchange.getRequestMethod().equals("HEAD")) {
      exchange.getResponseHeaders().set("Content-Length", "" + content.length);
      exchange.sendResponseHeaders(200, -1);
      return;
    }
    if (kind == Fault.Kind.DAMAGE) {
      content = content.clone();
      content[fault.after] ^= 1;
    }
    exchange.sendResponseHeaders(partial ? 206 : 200, content.length == 0 ? -1 : content.length);
    OutputStream out = exchange.getResponseBody();
    if (kind == Fault.Kind.CUT || kind == Fault.Kind.SILENCE) {
      out.write(content, 0, Math.min(fault.after, content.length));
      out.flush();
      try { // a client that is told of the end at once may throw away what came before it
        Thread.sleep(kind == Fault.Kind.SILENCE ? 600_000 : 2_000);
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
      }
    } else {
      out.write(content);
    }
  }

  // ---------------------------------------------------------------- hashes

  static String hash(byte[] content) {
    return HexFormat.of().formatHex(digest("SHA-256").digest(content));
  }

  static String gitHash(byte[] content) {
    MessageDigest digest = digest("SHA-1");
    digest.update(("blob " + content.length + "\0").getBytes(StandardCharsets.US_ASCII));
    return HexFormat.of().formatHex(digest.digest(content));
  }

  private static MessageDigest digest(String name) {
    try {
      return MessageDigest.getInstance(name);
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException(e);
    }
  }

  /** Serves folders, {@code org/name=folder} each, until it is killed; prints where. */
  public static void main(String[] args) throws Exception {
    HubServer server = new HubServer();
    for (String each : args) {
      server.commit(
          each.substring(0, each.indexOf('=')),
          "main",
          Path.of(each.substring(each.indexOf('=') + 1)));
    }
    System.out.println(server.endpoint());
    Thread.sleep(Long.MAX_VALUE);
  }
}
