package org.perflow.hub;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.io.InputStream;
import java.io.InterruptedIOException;
import java.net.ConnectException;
import java.net.URI;
import java.net.URLEncoder;
import java.net.http.HttpClient;
import java.net.http.HttpConnectTimeoutException;
import java.net.http.HttpRequest;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.function.LongSupplier;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.net.ssl.SSLException;
import org.jspecify.annotations.Nullable;
import org.perflow.hub.HubException.Kind;
import org.perflow.io.Json;

/**
 * Asks the hub: follows its redirects, sends the token to the hub alone, and tries again what may
 * pass. Thread-safe.
 */
final class HubClient {
  private static final int MOST_HOPS = 10;
  private static final int MOST_PAGES = 1000;
  private static final Duration LONGEST_WAIT = Duration.ofMinutes(5);
  private static final Set<Integer> PASSING = Set.of(408, 425, 429, 500, 502, 503, 504);
  private static final Pattern NEXT = Pattern.compile("<([^>]*)>\\s*;[^,]*\\brel=\"?next\"?");
  private static final Pattern RANGE = Pattern.compile("bytes (\\d+)-\\d+/(\\d+|\\*)");

  private final HubSettings settings;
  private final Transfer transfer;
  private final HttpClient http;

  HubClient(HubSettings settings, Transfer transfer) {
    if (settings.offline()) {
      throw new IllegalStateException("offline, no connection may be made");
    }
    this.settings = settings;
    this.transfer = transfer;
    this.http =
        HttpClient.newBuilder()
            .version(HttpClient.Version.HTTP_1_1) // a connection for each piece of a file
            .followRedirects(HttpClient.Redirect.NEVER) // the token must not go along
            .connectTimeout(transfer.silence())
            .build();
  }

  /** Some bytes of a file. */
  record Part(long size, long start, long end) {
    boolean isAll() {
      return start == 0 && end == size;
    }
  }

  /** Takes bytes of a file as they arrive. */
  @FunctionalInterface
  interface Sink {
    void write(byte[] bytes, int count, long at);
  }

  /** The server sends whole files only. */
  static final class NoRanges extends IOException {}

  /** It may be otherwise in a while. */
  private static final class Passing extends IOException {
    private final Duration wait;

    Passing(String message, Duration wait) {
      super(message);
      this.wait = wait;
    }
  }

  // ---------------------------------------------------------------- what is asked

  /** The commit that the revision is now. */
  String commit(HubName name) throws IOException {
    String revision = URLEncoder.encode(name.revisionOrMain(), StandardCharsets.UTF_8);
    Page page = page(name, address("/api/models/" + name.repository() + "/revision/" + revision));
    String commit = page.json.path("sha").asText();
    if (!HubName.isCommit(commit)) {
      throw noHub(name);
    }
    return commit;
  }

  /** All files of a commit. */
  RepositoryTree tree(HubName name, String commit) throws IOException {
    List<JsonNode> entries = new ArrayList<>();
    URI next =
        address("/api/models/%s/tree/%s?recursive=true".formatted(name.repository(), commit));
    for (int pages = 0; next != null && pages < MOST_PAGES; pages++) {
      Page page = page(name, next);
      if (!page.json.isArray()) {
        throw noHub(name);
      }
      page.json.forEach(entries::add);
      next = page.next;
    }
    return RepositoryTree.of(entries);
  }

  /** Where a file of a commit is to be had. */
  URI file(HubName name, String commit, String path) {
    String encoded = URLEncoder.encode(path, StandardCharsets.UTF_8);
    return address(
        "/%s/resolve/%s/%s"
            .formatted(name.repository(), commit, encoded.replace("+", "%20").replace("%2F", "/")));
  }

  private URI address(String path) {
    return URI.create(settings.endpoint() + path);
  }

  private HubException noHub(HubName name) {
    return new HubException(
        Kind.DAMAGED,
        "%s: %s does not answer as the hub does; see whether HF_ENDPOINT, a proxy or a login page of the network stands between"
            .formatted(name, settings.endpoint()));
  }

  /** An answer in JSON, and where it goes on. */
  private record Page(JsonNode json, @Nullable URI next) {}

  private Page page(HubName name, URI address) throws IOException {
    return patiently(
        name,
        false,
        () -> 0,
        () -> {
          HttpResponse<InputStream> answer = open(name, address, null);
          try (InputStream body = answer.body();
              Silence watch = new Silence(transfer.silence(), body)) {
            byte[] text = body.readNBytes(Json.MAX_FILE);
            watch.heard();
            Matcher next = NEXT.matcher(String.join(",", answer.headers().allValues("Link")));
            return new Page(
                Json.MAPPER.readTree(text), next.find() ? address.resolve(next.group(1)) : null);
          } catch (JsonProcessingException e) {
            throw noHub(name);
          }
        });
  }

  /**
   * Reads a part of a file; goes on from where a connection was cut.
   *
   * @throws NoRanges where it would have to read all of the file for it
   */
  void read(HubName name, URI file, Part part, Sink sink) throws IOException {
    long[] at = {part.start};
    patiently(
        name,
        true,
        () -> at[0],
        () -> {
          boolean all = part.isAll() && at[0] == 0;
          String range = all ? null : "bytes=%d-%d".formatted(at[0], part.end - 1);
          HttpResponse<InputStream> answer = open(name, file, range);
          try (InputStream body = answer.body();
              Silence watch = new Silence(transfer.silence(), body)) {
            at[0] = begin(name, answer, part, at[0]);
            byte[] buffer = new byte[1 << 16];
            while (at[0] < part.end) {
              int count = body.read(buffer, 0, (int) Math.min(buffer.length, part.end - at[0]));
              if (count < 0) {
                throw new IOException("the connection was cut");
              }
              watch.heard();
              sink.write(buffer, count, at[0]);
              at[0] += count;
            }
            return at;
          }
        });
  }

  /** Where in the file the answer begins. */
  private static long begin(HubName name, HttpResponse<?> answer, Part part, long asked)
      throws IOException {
    boolean partial = answer.statusCode() == 206;
    if (!partial && !part.isAll()) {
      throw new NoRanges();
    }
    Matcher range = RANGE.matcher(answer.headers().firstValue("Content-Range").orElse(""));
    boolean told = partial && range.matches();
    long begins = told ? Long.parseLong(range.group(1)) : partial ? asked : 0;
    String size =
        partial
            ? told ? range.group(2) : "*"
            : answer.headers().firstValue("Content-Length").orElse("*");
    if ((partial && begins != asked) || !size.matches("\\*|" + part.size)) {
      throw new HubException(
          Kind.DAMAGED,
          "%s: %s has %s bytes and begins at %d, expected %d bytes from %d on"
              .formatted(name, answer.uri().getPath(), size, begins, part.size, asked));
    }
    return begins;
  }

  // ---------------------------------------------------------------- how it is asked

  private interface Attempt<T> {
    T run() throws IOException;
  }

  /**
   * Tries again, later and later, while it may help; anew where something has arrived.
   *
   * @param connected whether the hub has answered before; else no network is an answer at once
   */
  private <T> T patiently(
      HubName name, boolean connected, LongSupplier position, Attempt<T> attempt)
      throws IOException {
    long reached = position.getAsLong();
    for (int tries = 1; ; tries++) {
      IOException failed;
      try {
        return attempt.run();
      } catch (HubException | NoRanges | InterruptedIOException e) {
        throw e;
      } catch (ConnectException | HttpConnectTimeoutException | SSLException e) {
        if (!connected) {
          throw unreachable(name, e);
        }
        failed = e;
      } catch (IOException e) {
        failed = e;
      }
      if (position.getAsLong() != reached) {
        reached = position.getAsLong();
        tries = 1;
      }
      Duration wait = failed instanceof Passing passing ? passing.wait : Duration.ZERO;
      if (tries >= transfer.tries() || wait.compareTo(LONGEST_WAIT) > 0) {
        throw unreachable(name, failed);
      }
      Duration pause = transfer.pauseAfter(tries);
      sleep(wait.compareTo(pause) > 0 ? wait : pause);
    }
  }

  private static void sleep(Duration time) throws IOException {
    try {
      Thread.sleep(time.toMillis());
    } catch (InterruptedException e) {
      throw interrupted();
    }
  }

  private static InterruptedIOException interrupted() {
    Thread.currentThread().interrupt();
    return new InterruptedIOException("the fetch was stopped");
  }

  private HubException unreachable(HubName name, IOException e) {
    String said = e.getMessage() == null ? e.getClass().getSimpleName() : e.getMessage();
    if (e instanceof Passing) {
      return new HubException(Kind.UNREACHABLE, name + ": " + said + "; try again later", e);
    }
    return new HubException(
        Kind.UNREACHABLE,
        "%s: %s cannot be reached (%s): see to the network or the proxy (-Dhttps.proxyHost), or use what was fetched before (HF_HUB_OFFLINE=1)"
            .formatted(name, settings.endpoint(), said),
        e);
  }

  /** An answer of status 200 or 206; the caller closes its body. */
  private HttpResponse<InputStream> open(HubName name, URI start, @Nullable String range)
      throws IOException {
    URI at = start;
    for (int hops = 0; hops <= MOST_HOPS; hops++) {
      HttpResponse<InputStream> answer = send(at, range);
      String location = answer.headers().firstValue("Location").orElse("");
      if (answer.statusCode() / 100 == 2) {
        return answer;
      }
      answer.body().close();
      if (answer.statusCode() / 100 != 3 || location.isEmpty()) {
        throw refusal(name, answer);
      }
      URI next = at.resolve(encoded(location));
      if ("https".equals(at.getScheme()) && !"https".equals(next.getScheme())) {
        throw new HubException(
            Kind.DAMAGED, name + ": the hub sends to an address that is not encrypted, " + next);
      }
      at = next;
    }
    throw new HubException(Kind.DAMAGED, name + ": the hub sends from address to address");
  }

  /** An address with what may not stand in one, which servers do send, escaped. */
  private static URI encoded(String location) {
    StringBuilder escaped = new StringBuilder();
    for (byte each : location.getBytes(StandardCharsets.UTF_8)) {
      boolean plain = each > 0x20 && each < 0x7f && "\"<>\\^`{|}".indexOf(each) < 0;
      escaped.append(plain ? Character.toString(each) : "%%%02X".formatted(each));
    }
    return URI.create(escaped.toString());
  }

  private HttpResponse<InputStream> send(URI at, @Nullable String range) throws IOException {
    HttpRequest.Builder request =
        HttpRequest.newBuilder(at)
            .timeout(transfer.silence())
            .header("User-Agent", "perflow; java/" + Runtime.version().feature())
            .header("Accept-Encoding", "identity");
    if (range != null) {
      request.header("Range", range);
    }
    if (settings.token() != null && isHub(at)) {
      request.header("Authorization", "Bearer " + settings.token());
    }
    try {
      return http.send(request.build(), BodyHandlers.ofInputStream());
    } catch (InterruptedException e) {
      throw interrupted();
    }
  }

  private boolean isHub(URI at) {
    URI hub = settings.endpoint();
    return hub.getScheme().equals(at.getScheme())
        && hub.getHost().equalsIgnoreCase(at.getHost())
        && hub.getPort() == at.getPort();
  }

  // ---------------------------------------------------------------- refusals

  private IOException refusal(HubName name, HttpResponse<?> answer) {
    int status = answer.statusCode();
    boolean store = !isHub(answer.uri()); // its addresses are good for a while only
    if (PASSING.contains(status) || store) {
      String who = store ? "the hub's store" : settings.endpoint().toString();
      return new Passing(
          "%s answers with HTTP %d%s"
              .formatted(who, status, status == 429 ? ", too many requests" : ""),
          wait(answer));
    }
    String code = answer.headers().firstValue("X-Error-Code").orElse("");
    String said = answer.headers().firstValue("X-Error-Message").orElse("");
    String page = settings.endpoint() + "/" + name.repository();
    if (code.equals("GatedRepo")) {
      return new HubException(
          Kind.DENIED,
          "%s is gated: ask for access at %s, then %s".formatted(name.repository(), page, login()));
    }
    if (status == 401 && said.startsWith("Invalid")) {
      return new HubException(
          Kind.DENIED, name + ": the hub does not know the token; make a new one and " + login());
    }
    if (code.equals("RevisionNotFound")) {
      return new HubException(
          Kind.ABSENT,
          "%s has no branch, tag or commit %s; see %s"
              .formatted(name.repository(), name.revisionOrMain(), page + "/tree/main"));
    }
    if (status == 401 || status == 404) {
      return new HubException(
          Kind.ABSENT,
          "%s is not on the hub (%s), or is private: see to its spelling or, if it is private, %s"
              .formatted(name.repository(), settings.endpoint(), login()));
    }
    return new HubException(
        Kind.DENIED,
        "%s: the hub refuses (HTTP %d)%s"
            .formatted(name, status, said.isEmpty() ? "" : ": " + said));
  }

  private String login() {
    return settings.token() == null
        ? "set HF_TOKEN to a token of your account"
        : "see that HF_TOKEN, or the token that you logged in with, is of an account that may read it";
  }

  private static Duration wait(HttpResponse<?> answer) {
    String seconds = answer.headers().firstValue("Retry-After").orElse("");
    return seconds.matches("\\d{1,6}")
        ? Duration.ofSeconds(Long.parseLong(seconds))
        : Duration.ZERO;
  }
}
