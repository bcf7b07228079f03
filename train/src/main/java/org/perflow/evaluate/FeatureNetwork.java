package org.perflow.evaluate;

import com.fasterxml.jackson.annotation.JsonProperty;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.perflow.io.Fingerprint;
import org.perflow.io.Json;
import org.perflow.io.Weights;
import org.perflow.tensor.DType;
import org.perflow.tensor.Functional;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Conv2d;
import org.perflow.tensor.nn.GroupNorm;
import org.perflow.tensor.nn.Linear;
import org.perflow.tensor.nn.Module;

/**
 * A small in-domain classifier whose pooled features stand in for Inception's when two sets of
 * pictures are compared. Distances on it are "FD (emoji-features)" and are never called FID: they
 * compare only with distances on the same weights and the same number of pictures.
 *
 * <p>Each stage halves the picture and adds one residual convolution; the features are the mean
 * over what is left. A folder holds {@code config.json} and {@code model.safetensors}. Thread-safe
 * while nobody trains it; {@link #close} frees the weights.
 */
public final class FeatureNetwork extends Module implements Features {
  /** Sizes of the network: pictures are square, {@code channels} has one entry a stage. */
  public record Config(
      @JsonProperty("name") String name,
      @JsonProperty("sample_size") int sampleSize,
      @JsonProperty("channels") List<Integer> channels,
      @JsonProperty("norm_num_groups") int normNumGroups,
      @JsonProperty("num_concepts") int numConcepts) {
    public Config {
      channels = List.copyOf(channels);
      if (channels.isEmpty() || numConcepts < 2 || sampleSize >> channels.size() < 1) {
        throw new IllegalArgumentException(
            "a feature network needs a stage or more, 2 concepts or more, and pictures of 2^stages"
                + " or more; got channels "
                + channels
                + ", num_concepts "
                + numConcepts
                + ", sample_size "
                + sampleSize);
      }
    }

    /** The shape that models/emoji-features has. */
    public static Config emoji(int concepts) {
      return new Config("emoji-features", 64, List.of(32, 48, 96, 128), 8, concepts);
    }
  }

  /** Half the size, then one residual convolution. */
  private static final class Stage extends Module {
    private final Conv2d down;
    private final GroupNorm norm1;
    private final Conv2d conv;
    private final GroupNorm norm2;

    Stage(int in, int out, int groups) {
      down = child("down", new Conv2d(in, out, 3, 2, 1));
      norm1 = child("norm1", new GroupNorm(groups, out, 1e-5));
      conv = child("conv", new Conv2d(out, out, 3, 1, 1));
      norm2 = child("norm2", new GroupNorm(groups, out, 1e-5));
    }

    /** x [B, in, H, W] to [B, out, H/2, W/2]. */
    Tensor forward(Tensor x) {
      Tensor h = Functional.silu(norm1.forward(down.forward(x)));
      return h.add(Functional.silu(norm2.forward(conv.forward(h))));
    }
  }

  private final Config config;
  private final Conv2d convIn;
  private final List<Stage> stages = new ArrayList<>();
  private final Linear classifier;

  public FeatureNetwork(Config config) {
    this.config = config;
    List<Integer> channels = config.channels();
    convIn = child("conv_in", new Conv2d(3, channels.get(0), 3, 2, 1));
    for (int i = 1; i < channels.size(); i++) {
      Stage stage = new Stage(channels.get(i - 1), channels.get(i), config.normNumGroups());
      stages.add(child("stages." + (i - 1), stage));
    }
    classifier = child("classifier", new Linear(width(), config.numConcepts()));
  }

  /** Reads a folder that {@link #save} wrote, as float32. */
  public static FeatureNetwork load(Path folder) throws IOException {
    Config config = Json.read(folder.resolve("config.json"), Config.class);
    FeatureNetwork network = new FeatureNetwork(config);
    try {
      Weights.load(network, folder.resolve("model.safetensors"), DType.F32);
    } catch (IOException | RuntimeException e) {
      network.close();
      throw e;
    }
    return network;
  }

  /** Writes {@code config.json} and {@code model.safetensors} into {@code folder}. */
  public void save(Path folder, DType as, Map<String, String> provenance) throws IOException {
    Files.createDirectories(folder);
    Json.write(folder.resolve("config.json"), config);
    Weights.save(this, folder.resolve("model.safetensors"), as, provenance);
  }

  /** What it was built from. */
  public Config config() {
    return config;
  }

  @Override
  public String name() {
    return config.name();
  }

  @Override
  public int side() {
    return config.sampleSize();
  }

  @Override
  public String fingerprint() {
    return Fingerprint.of(List.of(config.toString(), Fingerprint.of(this)));
  }

  /** Number of features of a picture. */
  public int width() {
    return config.channels().get(config.channels().size() - 1);
  }

  /**
   * pictures [B, 3, H, W] in [-1, 1] to features [B, width] where the pictures are, owned by the
   * caller's scope.
   */
  @Override
  public Tensor features(Tensor pictures) {
    int size = config.sampleSize();
    if (pictures.dim() != 4
        || pictures.size(1) != 3
        || pictures.size(2) != size
        || pictures.size(3) != size) {
      throw new IllegalArgumentException(
          config.name()
              + " takes pictures [B, 3, "
              + size
              + ", "
              + size
              + "] in [-1, 1]; got "
              + pictures
              + ": resize them first");
    }
    Tensor h =
        Functional.silu(convIn.forward(pictures.to(device()).channelsLast())); // [B, 32, 32, 32]
    for (Stage stage : stages) {
      h = stage.forward(h);
    }
    return h.mean(2, 3).to(pictures.device()); // [B, width]
  }

  /** features [B, width] to scores of the concepts [B, numConcepts]. */
  public Tensor classify(Tensor features) {
    return classifier.forward(features);
  }
}
