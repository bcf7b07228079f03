package org.perflow.serve;

import java.io.IOException;
import java.nio.file.FileVisitOption;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.perflow.io.Suggestions;
import org.perflow.models.AppliedEmbeddings;
import org.perflow.models.ControlNetModel;
import org.perflow.models.DiffusionModel;
import org.perflow.pipeline.Pipeline;
import org.perflow.serve.RefusedException.Reason;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Models by name: loaded when they are needed, and the longest unused freed where there is no room.
 * One thread, the worker's, loads and uses them; what {@link #loaded} tells is for all.
 */
final class ModelStore implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(ModelStore.class);

  private final EngineOptions options;
  private final Map<String, Held> held = new LinkedHashMap<>(); // the longest unused first
  private final Map<String, Long> sizes = new ConcurrentHashMap<>();
  private final Set<String> used = new HashSet<>(); // by the batch that is drawn; not freed

  /** What is in memory; a ControlNet's name has its kind before it. */
  private record Held(AutoCloseable content, long bytes) {}

  /** A model to draw with. */
  record Loaded(
      String name,
      DiffusionModel bare,
      AppliedEmbeddings embedded,
      Pipeline pipeline,
      Previews previews)
      implements AutoCloseable {
    /** With its embeddings. */
    DiffusionModel model() {
      return embedded.model();
    }

    @Override
    public void close() {
      embedded.close();
      bare.close();
    }
  }

  /** How a thing is read. */
  private interface Reader<T extends AutoCloseable> {
    T read(Path path) throws IOException;
  }

  ModelStore(EngineOptions options) {
    this.options = options;
  }

  /** A new batch: what the one before used may be freed. */
  void begin() {
    used.clear();
  }

  /** The model of that name, which stays until the next {@link #begin}. */
  Loaded model(String name) throws IOException {
    return get(name, find(options.models(), "model", name), Loaded.class, path -> read(name, path));
  }

  private Loaded read(String name, Path path) throws IOException {
    DiffusionModel bare = DiffusionModel.load(path, options.compute(), home()).pack();
    try {
      Previews previews =
          bare.vae().on(options.device(), () -> Previews.of(bare, options.compute()));
      AppliedEmbeddings embedded = AppliedEmbeddings.read(bare, embeddings(name, bare));
      return new Loaded(name, bare, embedded, pipeline(embedded.model()), previews);
    } catch (RuntimeException | IOException e) {
      bare.close();
      throw e;
    }
  }

  /** Draws with {@code model} on the device that was chosen. */
  Pipeline pipeline(DiffusionModel model) {
    Pipeline pipeline = new Pipeline(model, options.compute());
    return options.offload() ? pipeline.withOffload(options.device()) : pipeline;
  }

  /** Where weights are. */
  private Device home() {
    return options.offload() ? Device.CPU : options.device();
  }

  private ControlNetModel net(Path folder) throws IOException {
    ControlNetModel net = ControlNetModel.load(folder, options.compute());
    net.to(home());
    return net;
  }

  /** The embeddings that are for a model of this kind. */
  private List<AppliedEmbeddings.Source> embeddings(String name, DiffusionModel model)
      throws IOException {
    List<AppliedEmbeddings.Source> fitting = new ArrayList<>();
    for (var entry : options.embeddings().entrySet()) {
      var source = new AppliedEmbeddings.Source(entry.getValue(), entry.getKey());
      try {
        AppliedEmbeddings.read(model, List.of(source)).close();
        fitting.add(source);
      } catch (IllegalArgumentException e) {
        LOG.info(
            "embedding left out model=\"{}\" embedding=\"{}\" reason=\"{}\"",
            name,
            entry.getKey(),
            e.getMessage());
      }
    }
    return fitting;
  }

  /** The ControlNet of that name, which stays, too. */
  ControlNetModel controlNet(String name) throws IOException {
    Path path = find(options.controlNets(), "ControlNet", name);
    return get("ControlNet " + name, path, ControlNetModel.class, this::net);
  }

  /** The file of the LoRA of that name. */
  Path lora(String name) {
    return find(options.loras(), "LoRA", name);
  }

  static Path find(Map<String, Path> known, String what, String name) {
    return Optional.ofNullable(known.get(name))
        .orElseThrow(() -> unknown(what, name, known.keySet()));
  }

  static RefusedException unknown(String what, String name, Collection<String> known) {
    return new RefusedException(
        Reason.UNKNOWN,
        known.isEmpty()
            ? "there is no %s here, so none of the name '%s'".formatted(what, name)
            : Suggestions.unknown(what, name, known));
  }

  private <T extends AutoCloseable> T get(String key, Path path, Class<T> type, Reader<T> reader)
      throws IOException {
    Held now = held.remove(key);
    if (now == null) {
      long expected = size(path);
      makeRoom(expected);
      long begin = System.nanoTime();
      T content = reader.read(path);
      now = new Held(content, bytes(content));
      LOG.info(
          "loaded name=\"{}\" bytes={} seconds={}",
          key,
          now.bytes(),
          (System.nanoTime() - begin) / 1e9);
    }
    held.put(key, now);
    used.add(key);
    sizes.put(key, now.bytes());
    return type.cast(now.content());
  }

  private static long bytes(AutoCloseable content) {
    return content instanceof Loaded loaded
        ? MemoryEstimate.weights(loaded.model())
        : MemoryEstimate.weights((ControlNetModel) content);
  }

  /** What weights will take, by the sizes of their files: those in half precision grow. */
  private long size(Path path) throws IOException {
    try (Stream<Path> files = Files.walk(path, FileVisitOption.FOLLOW_LINKS)) {
      List<Path> weights =
          files
              .filter(file -> file.toString().matches(".*\\.(safetensors|bin|ckpt|pt)"))
              .filter(file -> !file.toString().contains(".fp16."))
              .toList();
      long bytes = 0;
      for (Path file : weights) {
        bytes += Files.size(file);
      }
      return options.compute() == DType.F32 ? bytes : bytes / 2;
    }
  }

  private void makeRoom(long bytes) {
    if (!roomFor(bytes)) {
      long inUse = used.stream().mapToLong(name -> held.get(name).bytes()).sum();
      throw new RefusedException(
          Reason.TOO_LARGE,
          "%s needs some %,d MB, %,d MB are allowed"
              .formatted(
                  inUse == 0 ? "the model" : "the model with what is to be drawn with it",
                  (bytes + inUse) >> 20,
                  options.memory() >> 20));
    }
  }

  /** Frees what the batch does not use until {@code bytes} more fit; false where they do not. */
  boolean roomFor(long bytes) {
    for (String name : List.copyOf(held.keySet())) {
      if (bytes + weights() <= options.memory()) {
        break;
      }
      if (!used.contains(name)) {
        close(name, held.remove(name));
      }
    }
    return bytes + weights() <= options.memory();
  }

  /** Bytes of all weights in memory. */
  private long weights() {
    return held.values().stream().mapToLong(Held::bytes).sum();
  }

  private void close(String name, Held content) {
    sizes.remove(name);
    try {
      content.content().close();
    } catch (Exception e) {
      throw new IllegalStateException(e);
    }
    LOG.info("freed name=\"{}\" bytes={}", name, content.bytes());
  }

  /** Names and bytes of what is in memory. Thread-safe. */
  Map<String, Long> loaded() {
    return Map.copyOf(sizes);
  }

  /** {@code message} with names in place of paths. */
  String withoutPaths(String message) {
    String text = message;
    for (Map<String, Path> known :
        List.of(options.models(), options.loras(), options.controlNets(), options.embeddings())) {
      Map<String, Path> longestFirst =
          known.entrySet().stream()
              .sorted((a, b) -> b.getValue().toString().length() - a.getValue().toString().length())
              .collect(
                  Collectors.toMap(
                      Map.Entry::getKey, Map.Entry::getValue, (a, b) -> a, LinkedHashMap::new));
      for (var entry : longestFirst.entrySet()) {
        text = text.replace(entry.getValue().toAbsolutePath().toString(), entry.getKey());
        text = text.replace(entry.getValue().toString(), entry.getKey());
      }
    }
    return text;
  }

  @Override
  public void close() {
    Map.copyOf(held).forEach(this::close);
    held.clear();
  }
}
