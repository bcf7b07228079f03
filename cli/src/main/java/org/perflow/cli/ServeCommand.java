package org.perflow.cli;

import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import org.jspecify.annotations.Nullable;
import org.perflow.cli.options.ComputeOption;
import org.perflow.cli.options.OffloadOption;
import org.perflow.io.Installation;
import org.perflow.models.TextualInversion;
import org.perflow.serve.EngineOptions;
import org.perflow.serve.Job;
import org.perflow.serve.http.ApiKeys;
import org.perflow.serve.http.PictureServer;
import org.perflow.serve.http.ServerOptions;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code perflow serve}. */
@Command(
    name = "serve",
    description =
        "Draws over HTTP, for the clients of OpenAI's images, AUTOMATIC1111's API and Ollama's"
            + " pictures, and on a page at /. Listens at this machine alone unless told otherwise."
            + " SIGTERM or Ctrl-C takes no more work, finishes what there is and ends.",
    footer = {
      "",
      "Examples:",
      "  perflow serve                                       http://127.0.0.1:7860/",
      "  perflow serve --model mine=runs/mine/student --lora style.safetensors",
      "  perflow serve --host 0.0.0.0 --api-key-file keys",
      "  curl http://127.0.0.1:7860/v1/images/generations -H 'Content-Type: application/json' \\",
      "    -d '{\"prompt\": \"red apple\"}'"
    })
final class ServeCommand extends Verb {
  private static final Duration LAST_STEP = Duration.ofSeconds(10); // and last answers

  @Option(
      names = "--model",
      paramLabel = "[NAME=]MODEL",
      description =
          "Diffusers folder or single-file checkpoint, or its name on the hub, and what requests"
              + " call it (its own name, where none is given); may be given several times, the"
              + " first is the default. Models are loaded when they are first asked for (default:"
              + " student and teacher that come with perflow).")
  List<String> models = new ArrayList<>();

  @Option(
      names = "--lora",
      paramLabel = "[NAME=]FILE",
      description = "LoRA that requests may name; may be given several times.")
  List<String> loras = new ArrayList<>();

  @Option(
      names = "--controlnet",
      paramLabel = "[NAME=]DIR",
      description = "ControlNet folder that requests may name; may be given several times.")
  List<String> controlNets = new ArrayList<>();

  @Option(
      names = "--embedding",
      paramLabel = "[PLACEHOLDER=]FILE",
      description =
          "Textual inversion, and what prompts say for it (what the file says, where nothing is"
              + " given); it is in every model that it fits; may be given several times.")
  List<String> embeddings = new ArrayList<>();

  @Option(
      names = "--port",
      defaultValue = "7860",
      paramLabel = "N",
      description = "Port, 0 for a free one (default: ${DEFAULT-VALUE}).")
  int port;

  @Option(
      names = "--host",
      defaultValue = "127.0.0.1",
      paramLabel = "ADDRESS",
      description =
          "Address to listen at; others than this machine's own want --api-key-file or --no-auth"
              + " (default: ${DEFAULT-VALUE}).")
  String host;

  @Option(
      names = "--api-key-file",
      paramLabel = "FILE",
      description =
          "API keys, one a line as KEY or NAME:KEY; whoever has none is refused. Clients send them"
              + " as OpenAI's do: Authorization: Bearer KEY.")
  @Nullable Path keyFile;

  @Option(names = "--no-auth", description = "Let everybody draw who reaches --host.")
  boolean noAuth;

  @Option(
      names = "--origin",
      paramLabel = "URL",
      description =
          "Site whose pages may ask, such as https://example.org; may be given several times"
              + " (default: none but the server's own).")
  List<String> origins = new ArrayList<>();

  @Option(
      names = "--queue",
      defaultValue = "64",
      paramLabel = "N",
      description = "Most jobs that wait; more are refused with 429 (default: ${DEFAULT-VALUE}).")
  int queue;

  @Option(
      names = "--batch",
      defaultValue = "16",
      paramLabel = "N",
      description =
          "Most pictures drawn at once; changes memory and speed, not the pictures (default:"
              + " ${DEFAULT-VALUE}).")
  int batch;

  @Option(
      names = "--memory",
      paramLabel = "MB",
      description =
          "Memory for models and drawing together; what needs more is refused (default: four fifths"
              + " of the machine's).")
  @Nullable Long memory;

  @Mixin ComputeOption compute;
  @Mixin OffloadOption offload;

  @Option(
      names = "--max-pixels",
      defaultValue = "4194304",
      paramLabel = "N",
      description = "Most pixels of a picture, drawn or sent (default: ${DEFAULT-VALUE}).")
  int maxPixels;

  @Option(
      names = "--max-steps",
      defaultValue = "150",
      paramLabel = "N",
      description = "Most steps (default: ${DEFAULT-VALUE}).")
  int maxSteps;

  @Option(
      names = "--max-count",
      defaultValue = "10",
      paramLabel = "N",
      description = "Most pictures of a request (default: ${DEFAULT-VALUE}).")
  int maxCount;

  @Option(
      names = "--max-body",
      defaultValue = "32",
      paramLabel = "MB",
      description = "Most megabytes of a request (default: ${DEFAULT-VALUE}).")
  int maxBody;

  @Option(
      names = "--timeout",
      defaultValue = "600",
      paramLabel = "SECONDS",
      description = "How long a job may be drawn (default: ${DEFAULT-VALUE}).")
  long timeout;

  @Option(
      names = "--keep",
      defaultValue = "600",
      paramLabel = "SECONDS",
      description = "How long pictures stay to be fetched (default: ${DEFAULT-VALUE}).")
  long keep;

  @Option(
      names = "--drain",
      defaultValue = "30",
      paramLabel = "SECONDS",
      description = "How long to finish work for when stopped (default: ${DEFAULT-VALUE}).")
  long drain;

  @Option(
      names = "--journal",
      paramLabel = "DIR",
      description =
          "Folder where accepted jobs of /api/jobs and their pictures survive a crash: what was not"
              + " done is drawn after the next start (default: none).")
  @Nullable Path journal;

  @Option(
      names = "--quiet",
      description = "No log; else each request and job is a line on standard error.")
  boolean quiet;

  /** Where the server is. */
  record Started(String url, List<String> models, boolean keys) {}

  @Override
  void run() throws Exception {
    ServerOptions options = options(); // wrong ones are said before anything is loaded
    if (!quiet) {
      System.setProperty("org.slf4j.simpleLogger.log.org.perflow", "info");
    }
    if (options.keys().isEmpty() && !options.isLoopback()) {
      err().println("note: --no-auth: everybody who reaches " + host + " may draw");
    }
    PictureServer server = PictureServer.start(options);
    CountDownLatch ended = new CountDownLatch(1);
    Runtime.getRuntime().addShutdownHook(new Thread(() -> stop(server, ended), "perflow stop"));
    report(
        new Started(
            server.url(),
            List.copyOf(options.engine().models().keySet()),
            !options.keys().isEmpty()),
        "perflow serves at " + server.url());
    out().flush();
    ended.await();
  }

  /** Ends in bounded time: a step that is drawn, or a model that is read, cannot be ended. */
  private void stop(PictureServer server, CountDownLatch ended) {
    say("perflow stops; jobs have " + drain + " seconds");
    Thread draining = new Thread(() -> drain(server), "perflow drain");
    draining.setDaemon(true);
    draining.start();
    try {
      draining.join(Duration.ofSeconds(drain).plus(LAST_STEP).toMillis());
      if (draining.isAlive()) {
        say("what is drawn now takes too long; perflow ends without it");
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    } finally {
      ended.countDown();
    }
  }

  private void drain(PictureServer server) {
    try {
      List<Job> undone = server.drain();
      if (!undone.isEmpty()) {
        say(undone.size() + " jobs were not done in time");
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  private void say(String text) {
    err().println(text);
    err().flush();
  }

  private ServerOptions options() throws IOException {
    Map<String, Path> named = named(models, "--model");
    if (named.isEmpty()) {
      named.put(EngineOptions.name(Installation.student()), Installation.student());
      named.put(EngineOptions.name(Installation.teacher()), Installation.teacher());
    }
    EngineOptions usual = EngineOptions.of(named.values().iterator().next());
    EngineOptions engine =
        usual
            .withModels(named)
            .withLoras(named(loras, "--lora"))
            .withControlNets(named(controlNets, "--controlnet"))
            .withEmbeddings(placeholders())
            .withCompute(compute.type())
            .withDevice(compute.device())
            .withOffload(offload.chosen())
            .withBatch(batch)
            .withQueue(queue)
            .withMemory(memory == null ? usual.memory() : memory << 20)
            .withKeep(Duration.ofSeconds(keep))
            .withPatience(Duration.ofSeconds(timeout))
            .withJournal(journal)
            .withLimits(
                new EngineOptions.Limits(
                    maxCount, maxSteps, maxPixels, EngineOptions.Limits.DEFAULTS.promptLength()));
    return new ServerOptions(
        engine,
        host,
        port,
        keyFile == null ? Map.of() : ApiKeys.read(keyFile),
        noAuth,
        origins,
        Math.multiplyExact(maxBody, 1 << 20),
        Duration.ofSeconds(drain));
  }

  /** What prompts say to file. */
  private Map<String, Path> placeholders() throws IOException {
    Map<String, Path> placeholders = new LinkedHashMap<>();
    for (String text : embeddings) {
      EmbeddingArgument embedding = EmbeddingArgument.parse(text);
      Path file = fetch(embedding.file());
      try (TextualInversion inversion = TextualInversion.read(file, embedding.placeholder())) {
        if (placeholders.put(inversion.token(), file) != null) {
          throw new IllegalArgumentException(
              "--embedding: two are called %s; give one another name, as --embedding other=%s"
                  .formatted(inversion.token(), embedding.file()));
        }
      }
    }
    return placeholders;
  }

  /** Name to file or folder, fetched from the hub where it names one there. */
  private Map<String, Path> named(List<String> given, String option) throws IOException {
    Map<String, Path> named = new LinkedHashMap<>();
    for (String text : given) {
      int equals = text.indexOf('=');
      String file = text.substring(equals + 1);
      String name = equals < 1 ? EngineOptions.name(Path.of(file)) : text.substring(0, equals);
      if (named.put(name, fetch(file)) != null) {
        throw new IllegalArgumentException(
            "%s: two are called %s; give one another name, as %s other=%s"
                .formatted(option, name, option, file));
      }
    }
    return named;
  }
}
