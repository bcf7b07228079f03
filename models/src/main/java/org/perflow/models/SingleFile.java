package org.perflow.models;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.Closeable;
import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.perflow.io.FormatException;
import org.perflow.io.LazyTensor;
import org.perflow.io.NamedTensors;
import org.perflow.io.TensorView;
import org.perflow.io.WeightFiles;
import org.perflow.io.WeightsKind;
import org.perflow.io.WeightsKind.Family;

/**
 * A whole model in one file under the names of the original code: {@code .safetensors} or {@code
 * .ckpt} of SD-1.x, SD-2.x or SDXL. The family is told from names and shapes; configurations come
 * with the program, or with the file where {@link ModelConversion} wrote it. Nothing is read before
 * it is asked for. Thread-safe until closed.
 *
 * <pre>{@code
 * try (SingleFile file = SingleFile.open(Path.of("v1-5-pruned-emaonly.safetensors"))) {
 *   UNet2DConditionModel unet =
 *       UNet2DConditionModel.load(file.config("unet"), file.weights("unet"), DType.BF16);
 * }
 * }</pre>
 */
public final class SingleFile implements Closeable {
  /** Folder of each network in a diffusers folder, its prefix in the file, how to convert it. */
  record Part(String folder, String prefix, LdmTensors conversion) {}

  private static final Part UNET = new Part("unet", "model.diffusion_model.", LdmTensors.UNET);
  private static final Part VAE = new Part("vae", "first_stage_model.", LdmTensors.VAE);
  private static final Map<Family, List<Part>> PARTS =
      Map.of(
          Family.SD1,
          List.of(
              UNET,
              VAE,
              new Part("text_encoder", "cond_stage_model.transformer.", LdmTensors.CLIP)),
          Family.SD2,
          List.of(
              UNET, VAE, new Part("text_encoder", "cond_stage_model.model.", LdmTensors.OPEN_CLIP)),
          Family.SDXL,
          List.of(
              UNET,
              VAE,
              new Part("text_encoder", "conditioner.embedders.0.transformer.", LdmTensors.CLIP),
              new Part("text_encoder_2", "conditioner.embedders.1.model.", LdmTensors.OPEN_CLIP)));

  private final NamedTensors file;
  private final Family family;
  private final Map<String, String> files;
  private final Map<String, NamedTensors> weights = new LinkedHashMap<>();

  /** Of an open file, which it closes with itself. */
  SingleFile(NamedTensors file) throws IOException {
    this.file = file;
    this.family = family(file);
    this.files = FamilyConfigs.of(file, family);
    for (Part part : parts(family)) {
      Map<String, LazyTensor> ldm = new LinkedHashMap<>();
      for (String name : file.entries().keySet()) {
        if (name.startsWith(part.prefix())) {
          ldm.put(name.substring(part.prefix().length()), LazyTensor.of(file, name));
        }
      }
      if (!ldm.isEmpty()) {
        Map<String, LazyTensor> folder = part.conversion().toFolder(ldm, config(part.folder()));
        weights.put(
            part.folder(), new TensorView(file.toString(), folder, file.metadata(), () -> {}));
      }
    }
  }

  /**
   * Opens {@code path}.
   *
   * @throws FormatException saying what the file is, where it is no checkpoint of a family that is
   *     built
   */
  public static SingleFile open(Path path) throws IOException {
    NamedTensors file = WeightFiles.open(path);
    try {
      return new SingleFile(file);
    } catch (IOException e) {
      file.close();
      throw e;
    } catch (RuntimeException e) {
      file.close();
      throw new FormatException(path + ": " + e.getMessage(), e);
    }
  }

  private static Family family(NamedTensors file) throws FormatException {
    WeightsKind kind = WeightsKind.of(file).orElse(null);
    if (kind == null || kind.part() != WeightsKind.Part.CHECKPOINT) {
      throw new FormatException(
          "%s is no single-file checkpoint, it holds: %s; name a diffusers folder, or a file with model.diffusion_model.* in it"
              .formatted(file, kind == null ? "weights of an unknown kind" : kind.label()));
    }
    if (kind.family() == null) {
      throw new FormatException(
          "%s is a single-file checkpoint of no known family, or a part of one; supported: SD-1.x, SD-2.x, SDXL (base)"
              .formatted(file));
    }
    if (!PARTS.containsKey(kind.family())) {
      throw new FormatException(
          "%s holds an %s, which is not built; supported: SD-1.x, SD-2.x, SDXL (base)"
              .formatted(file, kind.label()));
    }
    return kind.family();
  }

  /** The networks of a family. */
  static List<Part> parts(Family family) {
    return Objects.requireNonNull(PARTS.get(family), family.label());
  }

  /** What the model is. */
  public Family family() {
    return family;
  }

  /**
   * The weights of {@code unet}, {@code vae}, {@code text_encoder} or {@code text_encoder_2} under
   * diffusers' names; text encoders with the prefix {@code text_model.}. They can be read until
   * this file is closed.
   *
   * @throws FormatException where the file lacks that network
   */
  public NamedTensors weights(String component) throws FormatException {
    NamedTensors found = weights.get(component);
    if (found == null) {
      throw new FormatException(
          "%s holds no %s, only %s; take a complete checkpoint or a diffusers folder"
              .formatted(file, component, weights.keySet()));
    }
    return found;
  }

  /** The networks in the file, by their folders in diffusers. */
  public List<String> components() {
    return List.copyOf(weights.keySet());
  }

  /** The {@code config.json} of a network; the caller's own copy. */
  public ObjectNode config(String component) throws FormatException {
    return json(component + "/config.json");
  }

  /**
   * Diffusers' settings of the sampler. What the file says of its prediction type (metadata {@code
   * modelspec.prediction_type}, keys {@code v_pred} and {@code ztsnr}) is in them; SD-2.x files
   * that say nothing are taken for v-prediction, as diffusers does.
   */
  public ObjectNode schedulerConfig() throws FormatException {
    String name = "scheduler/scheduler_config.json";
    return SchedulerConfig.checked(file + ": " + name, json(name));
  }

  /** Diffusers' list of the parts of the model. */
  ObjectNode index() throws FormatException {
    return json("model_index.json");
  }

  private ObjectNode json(String name) throws FormatException {
    return FamilyConfigs.parse(file + ": " + name, files.get(name));
  }

  /**
   * The tokenizer in the folder {@code tokenizer} or {@code tokenizer_2}: CLIP's own, unless the
   * file brings another.
   */
  public CLIPTokenizer tokenizer(String folder) throws IOException {
    Map<String, String> own = FamilyConfigs.under(files, folder);
    boolean complete = own.containsKey("merges.txt") || own.containsKey("tokenizer.json");
    // OpenCLIP was trained with zeros behind the text, and token 0 is "!".
    boolean openClip = family == Family.SD2 || folder.endsWith("_2");
    String pad = openClip ? "!" : "<|endoftext|>";
    return CLIPTokenizer.of(
        file + ": " + folder, complete ? own : CLIPTokenizer.completed(own, pad));
  }

  /** The JSON and text files of the diffusers folder that this file stands for, by path. */
  Map<String, String> files() {
    return files;
  }

  @Override
  public void close() throws IOException {
    file.close();
  }
}
