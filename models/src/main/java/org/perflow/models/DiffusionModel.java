package org.perflow.models;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.UUID;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.perflow.io.AtomicFiles;
import org.perflow.io.FormatException;
import org.perflow.io.Json;
import org.perflow.io.Weights;
import org.perflow.io.WeightsKind.Family;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.Rng;
import org.perflow.tensor.nn.Module;

/**
 * A diffusers folder in memory: everything that turns a caption into a picture, of Stable Diffusion
 * 1, 2 or XL. Copies by {@link #withUnet} and {@link #withScheduler} share the other parts with the
 * original; {@link #close} frees all parts of the one it is called on, so close a model once all
 * that share with it are done.
 *
 * @param second what XL reads the caption with besides; null for the other families
 */
public record DiffusionModel(
    UNet2DConditionModel unet,
    AutoencoderKL vae,
    CLIPTextModel textEncoder,
    CLIPTokenizer tokenizer,
    @Nullable Second second,
    ObjectNode schedulerConfig)
    implements AutoCloseable {

  private static final String INDEX = "model_index.json";
  private static final String SCHEDULER = "scheduler/scheduler_config.json";
  private static final String PIPELINE = "StableDiffusionPipeline";
  private static final String PIPELINE_XL = "StableDiffusionXLPipeline";
  private static final Pattern NOT_BUILT = // Karras et al., arXiv 2206.00364, and kin
      Pattern.compile(
          "(EDM|Cosine|KarrasVe|CMStochastic|ConsistencyDecoder|ScoreSde|FlowMap|SCM"
              + "|FlowMatch(?!EulerDiscreteScheduler)).*");
  private static final String EMPTY_IS_ZEROS = "force_zeros_for_empty_prompt";
  private static final Pattern PIPELINES = // one folder serves them all
      Pattern.compile("StableDiffusion(XL)?(ControlNet)?(Img2Img|Inpaint)?Pipeline");

  public DiffusionModel {
    schedulerConfig = schedulerConfig.deepCopy();
    checkSampler(schedulerConfig);
    checkTokenizer(tokenizer, textEncoder.config());
    if ((second != null) != unet.config().takesAddedConditions()) {
      throw new IllegalArgumentException(
          second == null
              ? "the U-Net is of the XL family and needs a second text encoder"
              : "there is a second text encoder, but the U-Net is not of the XL family");
    }
    int width = textEncoder.config().hiddenSize();
    if (second != null) {
      checkTokenizer(second.tokenizer(), second.textEncoder().config());
      width += second.textEncoder().config().hiddenSize();
    }
    int wanted = unet.config().crossAttentionDim().get(0);
    if (width != wanted) {
      throw new IllegalArgumentException(
          "the text encoders make %d features a token, the U-Net reads %d (cross_attention_dim)"
              .formatted(width, wanted));
    }
  }

  /** A model of one text encoder: Stable Diffusion 1 or 2. */
  public DiffusionModel(
      UNet2DConditionModel unet,
      AutoencoderKL vae,
      CLIPTextModel textEncoder,
      CLIPTokenizer tokenizer,
      ObjectNode schedulerConfig) {
    this(unet, vae, textEncoder, tokenizer, null, schedulerConfig);
  }

  /** Networks of the same shape that would come out wrong under any sampler that is built. */
  private static void checkSampler(JsonNode config) {
    String type = config.path("_class_name").asText();
    boolean continuous = config.path("timestep_type").asText().equals("continuous");
    if (continuous || NOT_BUILT.matcher(type).matches()) {
      throw new IllegalArgumentException(
          "its sampler is a %s%s, which is not built: such a network is told its noise otherwise, so no other sampler will do"
              .formatted(type, continuous ? " of continuous timesteps" : ""));
    }
  }

  private static void checkTokenizer(CLIPTokenizer tokenizer, ClipTextConfig config) {
    if (tokenizer.length() > config.maxPositionEmbeddings()) {
      throw new IllegalArgumentException(
          "the tokenizer pads to %d tokens, the text encoder takes %d (max_position_embeddings)"
              .formatted(tokenizer.length(), config.maxPositionEmbeddings()));
    }
    if (tokenizer.size() != config.vocabSize()) {
      throw new IllegalArgumentException(
          "the tokenizer knows %d tokens, the text encoder's embedding has %d rows (vocab_size): take both of one model; a token that was added may be missing in one of them"
              .formatted(tokenizer.size(), config.vocabSize()));
    }
  }

  /**
   * What XL reads the caption with besides.
   *
   * @param forceZerosForEmptyPrompt whether a negative prompt that is not given is zeros, not ""
   */
  public record Second(
      CLIPTextModelWithProjection textEncoder,
      CLIPTokenizer tokenizer,
      boolean forceZerosForEmptyPrompt) {
    /** The same with another reading of a negative prompt that is not given. */
    public Second withForceZeros(boolean zeros) {
      return new Second(textEncoder, tokenizer, zeros);
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
   * @throws NoSuchFileException where there is neither
   * @throws FormatException naming the file that is missing, broken or of an architecture that is
   *     not built
   */
  public static DiffusionModel load(Path folder, DType as) throws IOException {
    return load(folder, as, Device.CPU);
  }

  /**
   * The same on a device, weight by weight, so that the host needs memory for the largest alone.
   *
   * @throws IllegalArgumentException where there is no such device: {@link Device#settled}
   */
  public static DiffusionModel load(Path folder, DType as, Device device) throws IOException {
    Device there = device.settled();
    if (!Files.exists(folder)) {
      throw new NoSuchFileException(
          folder.toString(),
          null,
          "there is no such model; name a diffusers folder or a single-file checkpoint");
    }
    if (Files.isRegularFile(folder)) {
      return loadSingleFile(folder, as, there);
    }
    DiffusionModel model = architecture(folder);
    model.to(there);
    return model.filled(
        () -> {
          model.loadUnet(folder, as);
          model.loadReaders(folder, as);
        });
  }

  /** Reads the U-Net's weights of a diffusers folder, in the place of any. */
  public void loadUnet(Path folder, DType as) throws IOException {
    unet.loadWeights(folder.resolve("unet"), as);
  }

  /** Reads the weights of VAE and text encoders of a diffusers folder, in the place of any. */
  public void loadReaders(Path folder, DType as) throws IOException {
    vae.loadWeights(folder.resolve("vae"), as);
    textEncoder.loadWeights(folder.resolve("text_encoder"), as);
    if (second != null) {
      second.textEncoder().loadWeights(folder.resolve("text_encoder_2"), as);
    }
  }

  /** Frees VAE and text encoders for as long as only the U-Net is needed. */
  public void closeReaders() {
    vae.close();
    textEncoder.close();
    if (second != null) {
      second.textEncoder().close();
    }
  }

  /** Reads weights. */
  private interface Loading {
    void run() throws IOException;
  }

  /** This model once {@code loading} has filled it; closed where that fails. */
  private DiffusionModel filled(Loading loading) throws IOException {
    try {
      loading.run();
      return this;
    } catch (IOException | RuntimeException e) {
      close();
      throw e;
    }
  }

  /**
   * The parts that the configs and the tokenizer of a diffusers folder describe, without weights
   * yet: initialise or load them. The folder may lack weights. The caller closes the result.
   *
   * @throws FormatException naming the file that is missing, broken or of an architecture that is
   *     not built, and for the XL family
   */
  public static DiffusionModel withoutWeights(Path folder) throws IOException {
    if (index(folder).path("text_encoder_2").hasNonNull(0)) {
      throw new FormatException(
          folder + " is of the XL family; supported without weights: " + PIPELINE);
    }
    return architecture(folder);
  }

  /**
   * Width and height of the pictures that the model in a diffusers folder was made for, by its
   * configs.
   */
  public static int pixels(Path folder) throws IOException {
    return ConfigJson.read(folder.resolve("unet"), UNetConfig::of).sampleSize()
        * ConfigJson.read(folder.resolve("vae"), VaeConfig::of).downsampling();
  }

  /**
   * A folder's model without weights, of any family: all that its configs say is checked. The
   * caller closes it.
   *
   * @throws FormatException naming the file that is missing, broken or of an architecture that is
   *     not built
   */
  public static DiffusionModel architecture(Path folder) throws IOException {
    JsonNode parts = index(folder);
    ObjectNode scheduler = scheduler(folder);
    CLIPTokenizer tokenizer = CLIPTokenizer.load(folder.resolve("tokenizer"));
    var unet = new UNet2DConditionModel(ConfigJson.read(folder.resolve("unet"), UNetConfig::of));
    var vae = new AutoencoderKL(ConfigJson.read(folder.resolve("vae"), VaeConfig::of));
    Path text = folder.resolve("text_encoder");
    var textEncoder = new CLIPTextModel(ConfigJson.read(text, ClipTextConfig::of));
    Second second = null;
    if (parts.path("text_encoder_2").hasNonNull(0)) {
      Path other = folder.resolve("text_encoder_2");
      second =
          new Second(
              new CLIPTextModelWithProjection(ConfigJson.read(other, ClipTextConfig::of)),
              CLIPTokenizer.load(folder.resolve("tokenizer_2")),
              parts.path(EMPTY_IS_ZEROS).asBoolean(true));
    }
    try {
      return new DiffusionModel(unet, vae, textEncoder, tokenizer, second, scheduler);
    } catch (IllegalArgumentException e) {
      throw new FormatException(folder + ": " + e.getMessage(), e);
    }
  }

  private static JsonNode index(Path folder) throws IOException {
    Path index = folder.resolve(INDEX);
    if (!Files.exists(index)) {
      throw new FormatException(
          folder + " is no diffusers folder: it has no " + INDEX + " beside unet/ and vae/");
    }
    JsonNode parts = Json.readObject(index);
    String pipeline = parts.path("_class_name").asText(PIPELINE);
    if (!PIPELINES.matcher(pipeline).matches()) {
      throw new FormatException(
          index + ": got a " + pipeline + ", supported: " + PIPELINE + ", " + PIPELINE_XL);
    }
    return parts;
  }

  private static ObjectNode scheduler(Path folder) throws IOException {
    Path file = folder.resolve(SCHEDULER);
    return SchedulerConfig.checked(file, Json.readObject(file));
  }

  private static DiffusionModel loadSingleFile(Path path, DType as, Device device)
      throws IOException {
    try (SingleFile file = SingleFile.open(path)) {
      DiffusionModel model = described(file);
      model.to(device);
      return model.filled(
          () -> {
            Weights.load(model.unet, file.weights("unet"), as);
            Weights.load(model.vae, file.weights("vae"), as);
            model.textEncoder.loadWeights(file.weights("text_encoder"), as);
            if (model.second != null) {
              Weights.load(model.second.textEncoder(), file.weights("text_encoder_2"), as);
            }
          });
    } catch (IllegalArgumentException e) {
      throw new FormatException(path + ": " + e.getMessage(), e);
    }
  }

  private static DiffusionModel described(SingleFile file) throws IOException {
    Second second = null;
    if (file.components().contains("text_encoder_2")) {
      second =
          new Second(
              new CLIPTextModelWithProjection(ClipTextConfig.of(file.config("text_encoder_2"))),
              file.tokenizer("tokenizer_2"),
              file.index().path(EMPTY_IS_ZEROS).asBoolean(true));
    }
    return new DiffusionModel(
        new UNet2DConditionModel(UNetConfig.of(file.config("unet"))),
        new AutoencoderKL(VaeConfig.of(file.config("vae"))),
        new CLIPTextModel(ClipTextConfig.of(file.config("text_encoder"))),
        file.tokenizer("tokenizer"),
        second,
        file.schedulerConfig());
  }

  /**
   * A model of the family's published size with random weights, as {@code as}: for measuring what a
   * machine can do without a download. The caller closes it.
   *
   * @param family Stable Diffusion 1, 2 or XL
   */
  public static DiffusionModel random(Family family, DType as, Rng rng) throws IOException {
    return random(family, as, rng, Device.CPU);
  }

  /** The same on a device. */
  public static DiffusionModel random(Family family, DType as, Rng rng, Device device)
      throws IOException {
    DiffusionModel model = randomReaders(family, as, rng, device);
    model.unet.initialise(rng, as);
    return model;
  }

  /** The same with a U-Net that has no weights yet. */
  public static DiffusionModel randomReaders(Family family, DType as, Rng rng, Device device)
      throws IOException {
    JsonNode files = FamilyConfigs.published(family);
    var unet = new UNet2DConditionModel(UNetConfig.of(files.path("unet/config.json")));
    var vae = new AutoencoderKL(VaeConfig.of(files.path("vae/config.json")));
    var text = new CLIPTextModel(ClipTextConfig.of(files.path("text_encoder/config.json")));
    unet.to(device);
    for (Module part : List.of(vae, text)) {
      part.to(device);
      part.initialise(rng, as);
    }
    Second second = null;
    if (unet.config().takesAddedConditions()) {
      var reader =
          new CLIPTextModelWithProjection(
              ClipTextConfig.of(files.path("text_encoder_2/config.json")));
      reader.to(device);
      reader.initialise(rng, as);
      second = new Second(reader, CLIPTokenizer.standard("!"), true);
    }
    return new DiffusionModel(
        unet,
        vae,
        text,
        CLIPTokenizer.standard("<|endoftext|>"),
        second,
        (ObjectNode) files.path(SCHEDULER));
  }

  /** Where its denoiser is; the other parts may be on the host meanwhile. */
  public Device device() {
    return unet.device();
  }

  /**
   * Moves all parts to {@code device}. Nobody may run the model meanwhile.
   *
   * @throws IllegalArgumentException where there is no such device: {@link Device#settled}
   */
  public void to(Device device) {
    unet.to(device);
    vae.to(device);
    textEncoder.to(device);
    if (second != null) {
      second.textEncoder().to(device);
    }
  }

  /**
   * This model, which from now on only draws: {@link Module#pack}. Weights may still be changed and
   * adapted, by one thread, while nobody draws.
   */
  public DiffusionModel pack() {
    unet.pack();
    vae.pack();
    return this;
  }

  /** The same with another denoiser. */
  public DiffusionModel withUnet(UNet2DConditionModel other) {
    return new DiffusionModel(other, vae, textEncoder, tokenizer, second, schedulerConfig);
  }

  /** The same with another autoencoder. */
  public DiffusionModel withVae(AutoencoderKL other) {
    return new DiffusionModel(unet, other, textEncoder, tokenizer, second, schedulerConfig);
  }

  /** The same with another second reader of captions, or none. */
  public DiffusionModel withSecond(@Nullable Second other) {
    return new DiffusionModel(unet, vae, textEncoder, tokenizer, other, schedulerConfig);
  }

  /** The same with other readers of captions, for text encoders with embeddings of their sizes. */
  DiffusionModel withTokenizers(CLIPTokenizer other, @Nullable CLIPTokenizer otherSecond) {
    Second both =
        second == null || otherSecond == null
            ? null
            : new Second(second.textEncoder(), otherSecond, second.forceZerosForEmptyPrompt());
    return new DiffusionModel(unet, vae, textEncoder, other, both, schedulerConfig);
  }

  /** The same with other settings of the sampler. */
  public DiffusionModel withScheduler(ObjectNode other) {
    return new DiffusionModel(unet, vae, textEncoder, tokenizer, second, other);
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
      if (second != null) {
        second.textEncoder().save(beside.resolve("text_encoder_2"), as, provenance);
        second.tokenizer().save(beside.resolve("tokenizer_2"));
      }
      Json.write(beside.resolve(SCHEDULER), schedulerConfig);
      Json.write(beside.resolve(INDEX), index());
      AtomicFiles.replaceDirectory(beside, target);
    } finally {
      AtomicFiles.deleteDirectory(beside);
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

  private ObjectNode index() {
    ObjectNode index = Json.MAPPER.createObjectNode();
    index.put("_class_name", second == null ? PIPELINE : PIPELINE_XL);
    index.putArray("feature_extractor").addNull().addNull();
    index.putArray("image_encoder").addNull().addNull();
    if (second == null) {
      index.put("requires_safety_checker", false);
      index.putArray("safety_checker").addNull().addNull();
    } else {
      index.put(EMPTY_IS_ZEROS, second.forceZerosForEmptyPrompt());
      index.putArray("text_encoder_2").add("transformers").add(ClipTextConfig.PROJECTED);
      index.putArray("tokenizer_2").add("transformers").add("CLIPTokenizer");
    }
    String scheduler = SchedulerConfig.classInIndex(schedulerConfig);
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
    closeReaders();
  }
}
