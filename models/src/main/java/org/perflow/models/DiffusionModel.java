package org.perflow.models;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.Map;
import java.util.UUID;
import java.util.stream.Stream;
import org.perflow.io.AtomicFiles;
import org.perflow.io.FormatException;
import org.perflow.io.Json;
import org.perflow.tensor.DType;

/**
 * A diffusers folder in memory: everything that turns a caption into a picture. Copies by {@link
 * #withUnet} and {@link #withScheduler} share the other parts with the original; {@link #close}
 * frees all parts of the one it is called on, so close a model once all that share with it are
 * done.
 */
public record DiffusionModel(
    UNet2DConditionModel unet,
    AutoencoderKL vae,
    CLIPTextModel textEncoder,
    CLIPTokenizer tokenizer,
    ObjectNode schedulerConfig)
    implements AutoCloseable {

  private static final String INDEX = "model_index.json";
  private static final String SCHEDULER = "scheduler/scheduler_config.json";
  private static final String PIPELINE = "StableDiffusionPipeline";

  public DiffusionModel {
    schedulerConfig = schedulerConfig.deepCopy();
    int length = textEncoder.config().maxPositionEmbeddings();
    if (tokenizer.length() > length) {
      throw new IllegalArgumentException(
          "the tokenizer pads to %d tokens, the text encoder takes %d (max_position_embeddings)"
              .formatted(tokenizer.length(), length));
    }
  }

  /** Diffusers' settings of the sampler; the caller's own copy. */
  @Override
  public ObjectNode schedulerConfig() {
    return schedulerConfig.deepCopy();
  }

  /**
   * Reads a diffusers folder or a single-file checkpoint, weights converted to {@code as}. The
   * caller closes the result.
   *
   * @throws FormatException naming the file that is missing, broken or of an architecture that is
   *     not built
   */
  public static DiffusionModel load(Path folder, DType as) throws IOException {
    if (Files.isRegularFile(folder)) {
      return loadSingleFile(folder, as);
    }
    Path index = folder.resolve(INDEX);
    if (!Files.exists(index)) {
      throw new FormatException(
          folder + " is no diffusers folder: it has no " + INDEX + " beside unet/ and vae/");
    }
    String pipeline = Json.read(index).path("_class_name").asText(PIPELINE);
    if (!pipeline.equals(PIPELINE)) {
      throw new FormatException(index + ": got a " + pipeline + ", supported: " + PIPELINE);
    }
    Path scheduler = folder.resolve(SCHEDULER);
    if (!(Json.read(scheduler) instanceof ObjectNode schedulerConfig)) {
      throw new FormatException(scheduler + ": expected a JSON object");
    }
    CLIPTokenizer tokenizer = CLIPTokenizer.load(folder.resolve("tokenizer"));
    UNet2DConditionModel unet = UNet2DConditionModel.load(folder.resolve("unet"), as);
    AutoencoderKL vae = AutoencoderKL.load(folder.resolve("vae"), as);
    CLIPTextModel text = CLIPTextModel.load(folder.resolve("text_encoder"), as);
    try {
      return new DiffusionModel(unet, vae, text, tokenizer, schedulerConfig);
    } catch (IllegalArgumentException e) {
      throw new FormatException(folder + ": " + e.getMessage(), e);
    }
  }

  private static DiffusionModel loadSingleFile(Path path, DType as) throws IOException {
    try (SingleFile file = SingleFile.open(path)) {
      return new DiffusionModel(
          UNet2DConditionModel.load(file.config("unet"), file.weights("unet"), as),
          AutoencoderKL.load(file.config("vae"), file.weights("vae"), as),
          CLIPTextModel.load(file.config("text_encoder"), file.weights("text_encoder"), as),
          file.tokenizer("tokenizer"),
          file.schedulerConfig());
    } catch (IllegalArgumentException e) {
      throw new FormatException(path + ": " + e.getMessage(), e);
    }
  }

  /** The same with another denoiser. */
  public DiffusionModel withUnet(UNet2DConditionModel other) {
    return new DiffusionModel(other, vae, textEncoder, tokenizer, schedulerConfig);
  }

  /** The same with another autoencoder. */
  public DiffusionModel withVae(AutoencoderKL other) {
    return new DiffusionModel(unet, other, textEncoder, tokenizer, schedulerConfig);
  }

  /** The same with other settings of the sampler. */
  public DiffusionModel withScheduler(ObjectNode other) {
    return new DiffusionModel(unet, vae, textEncoder, tokenizer, other);
  }

  /**
   * Writes a folder that diffusers loads, weights as {@code as}; it appears all at once or not at
   * all. {@code provenance} goes into the header of every weights file. An earlier model of that
   * name is replaced, other folders are refused.
   */
  public void save(Path folder, DType as, Map<String, String> provenance) throws IOException {
    Path target = folder.toAbsolutePath().normalize();
    refuseForeign(target);
    Path beside = target.resolveSibling("." + target.getFileName() + "." + UUID.randomUUID());
    try {
      unet.save(beside.resolve("unet"), as, provenance);
      vae.save(beside.resolve("vae"), as, provenance);
      textEncoder.save(beside.resolve("text_encoder"), as, provenance);
      tokenizer.save(beside.resolve("tokenizer"));
      Json.write(beside.resolve(SCHEDULER), schedulerConfig);
      Json.write(beside.resolve(INDEX), index());
      AtomicFiles.replaceDirectory(beside, target);
    } finally {
      delete(beside);
    }
  }

  /**
   * Says whether a model may be written to {@code target}: it is absent, empty or a model.
   *
   * @throws IOException where it holds something else
   */
  public static void refuseForeign(Path target) throws IOException {
    if (!Files.exists(target) || Files.exists(target.resolve(INDEX))) {
      return;
    }
    try (Stream<Path> content = Files.list(target)) {
      if (content.findAny().isPresent()) {
        throw new IOException(
            target + " exists and holds no model; name a new folder, nothing was written");
      }
    }
  }

  private static void delete(Path folder) throws IOException {
    if (Files.exists(folder)) {
      try (Stream<Path> paths = Files.walk(folder)) {
        for (Path path : paths.sorted(Comparator.reverseOrder()).toList()) {
          Files.delete(path);
        }
      }
    }
  }

  private ObjectNode index() {
    ObjectNode index = Json.MAPPER.createObjectNode();
    index.put("_class_name", PIPELINE);
    index.put("requires_safety_checker", false);
    for (String absent : new String[] {"feature_extractor", "image_encoder", "safety_checker"}) {
      index.putArray(absent).addNull().addNull();
    }
    String scheduler = schedulerConfig.path("_class_name").asText("DDIMScheduler");
    index.putArray("scheduler").add("diffusers").add(scheduler);
    index.putArray("text_encoder").add("transformers").add("CLIPTextModel");
    index.putArray("tokenizer").add("transformers").add("CLIPTokenizer");
    index.putArray("unet").add("diffusers").add("UNet2DConditionModel");
    index.putArray("vae").add("diffusers").add("AutoencoderKL");
    return index;
  }

  /** Frees the weights of all parts. */
  @Override
  public void close() {
    unet.close();
    vae.close();
    textEncoder.close();
  }
}
