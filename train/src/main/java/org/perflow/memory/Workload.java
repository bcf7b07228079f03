package org.perflow.memory;

import io.soabase.recordbuilder.core.RecordBuilder;
import java.io.IOException;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.perflow.models.DiffusionModel;
import org.perflow.models.UNetConfig;
import org.perflow.models.VaeConfig;
import org.perflow.models.lora.LoraAdapters;
import org.perflow.tensor.DType;
import org.perflow.train.Captions;
import org.perflow.train.Catalogue;
import org.perflow.train.LoraOptions;
import org.perflow.train.TrainOptions;

/**
 * A training by its sizes. Immutable.
 *
 * @param unet the network that is trained
 * @param vae its autoencoder
 * @param unetWeights how many
 * @param adaptedWeights of these, how many would get low-rank factors
 * @param factors of each rank, how many weights low-rank factors have
 * @param vaeWeights how many
 * @param textWeights of all text encoders
 * @param textNumbers of one encoded caption
 * @param height of the pictures
 * @param width of the pictures
 * @param pictures how many; 0 where that is not known yet
 * @param captions how many different wordings of captions
 * @param train settings of the trainer
 * @param lora whether low-rank factors are trained
 * @param teacher type that the frozen teacher's weights are kept in; null where there is none, or
 *     it is the weights below the factors
 * @param beside what the method keeps besides
 * @param splits whether a batch may be split into smaller ones
 * @param textTrained whether the text encoder is trained, too
 * @param vaeTrained whether a VAE is trained first
 */
@RecordBuilder
public record Workload(
    UNetConfig unet,
    VaeConfig vae,
    long unetWeights,
    long adaptedWeights,
    long factors,
    long vaeWeights,
    long textWeights,
    long textNumbers,
    int height,
    int width,
    long pictures,
    long captions,
    TrainOptions train,
    LoraOptions lora,
    @Nullable DType teacher,
    Beside beside,
    boolean splits,
    boolean textTrained,
    boolean vaeTrained)
    implements WorkloadBuilder.With {

  /**
   * Of a model's folder, which need not have weights, as nothing but its U-Net is trained.
   *
   * @param data what is learnt from; null where it is not known yet, and takes nothing here
   */
  public static Workload of(
      Path folder, @Nullable Catalogue data, TrainOptions train, LoraOptions lora)
      throws IOException {
    try (DiffusionModel model = DiffusionModel.architecture(folder)) {
      return of(model, data, train, lora);
    }
  }

  /** The same of a model, with weights or without. */
  public static Workload of(
      DiffusionModel model, @Nullable Catalogue data, TrainOptions train, LoraOptions lora) {
    int pixels = model.unet().config().sampleSize() * model.vae().config().downsampling();
    long texts = model.textEncoder().parameterCount();
    long numbers =
        (long) model.tokenizer().length() * model.unet().config().crossAttentionDim().get(0);
    if (model.second() != null) {
      texts += model.second().textEncoder().parameterCount();
    }
    LoraAdapters.Size adapted = LoraAdapters.size(model.unet());
    Set<String> wordings = data == null ? Set.of() : new HashSet<>(Captions.texts(data.samples()));
    boolean known = data != null && !data.sizes().isEmpty();
    return new Workload(
        model.unet().config(),
        model.vae().config(),
        model.unet().parameterCount(),
        adapted.weights(),
        adapted.factors(),
        model.vae().parameterCount(),
        texts,
        numbers,
        known ? data.sizes().get(0).height : pixels,
        known ? data.sizes().get(0).width : pixels,
        data == null ? 0 : data.samples().size(),
        wordings.size(),
        train,
        lora,
        lora.lowRank() ? null : train.computeType(),
        Beside.NOTHING,
        true,
        false,
        false);
  }

  /** Of a teacher that is trained from scratch, with its text encoder and its VAE or without. */
  public static Workload ofPretraining(
      Path like, Catalogue data, TrainOptions train, boolean textTrained, boolean vaeTrained)
      throws IOException {
    return of(like, data, train, LoraOptions.DEFAULTS)
        .with(
            work -> work.teacher(null).factors(0).textTrained(textTrained).vaeTrained(vaeTrained));
  }

  /** Whether nobody teaches: then all parts of the model stay in memory. */
  boolean fromScratch() {
    return teacher == null && !lora.lowRank();
  }

  /** Weights that get gradients. */
  long trained() {
    long all = lora.lowRank() ? factors * lora.loraRank() : unetWeights;
    return textTrained ? all + textWeights : all;
  }
}
