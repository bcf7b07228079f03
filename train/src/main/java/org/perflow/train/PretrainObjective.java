package org.perflow.train;

import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;
import org.perflow.flow.NoiseSchedule;
import org.perflow.models.CLIPTextModel;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;

/**
 * Trains a text-to-image model: U-Net and text encoder together, or the U-Net alone, learn to
 * predict the noise in latents (Ho et al., arXiv 2006.11239), weighted by min-SNR-γ (Hang et al.,
 * arXiv 2303.09556). One thread.
 */
public final class PretrainObjective implements Objective {
  private static final double GAMMA = 5;
  private static final double CAPTION_DROPOUT = 0.1;

  private final LatentCache latents;
  private final Captions captions;
  private final UNet2DConditionModel unet;
  private final CLIPTextModel text;
  private final NoiseSchedule schedule;
  private final DType compute;
  private final boolean keepsText;

  /** Both models must have float32 weights; the caches belong to the caller. */
  public PretrainObjective(
      LatentCache latents,
      Captions captions,
      UNet2DConditionModel unet,
      CLIPTextModel text,
      NoiseSchedule schedule,
      DType compute) {
    this(latents, captions, unet, text, schedule, compute, false);
  }

  private PretrainObjective(
      LatentCache latents,
      Captions captions,
      UNet2DConditionModel unet,
      CLIPTextModel text,
      NoiseSchedule schedule,
      DType compute,
      boolean keepsText) {
    if (latents.size() != captions.size()) {
      throw new IllegalArgumentException(
          "got " + latents.size() + " pictures and " + captions.size() + " captions");
    }
    this.latents = latents;
    this.captions = captions;
    this.unet = unet;
    this.text = text;
    this.schedule = schedule;
    this.compute = compute;
    this.keepsText = keepsText;
  }

  /** The same, but the text encoder stays as it is: fine-tuning. */
  public PretrainObjective keepingText() {
    return new PretrainObjective(latents, captions, unet, text, schedule, compute, true);
  }

  @Override
  public Map<String, Parameter> parameters() {
    Map<String, Parameter> all = new LinkedHashMap<>();
    unet.namedParameters().forEach((name, parameter) -> all.put("unet." + name, parameter));
    if (keepsText) {
      return all;
    }
    text.namedParameters().forEach((name, parameter) -> all.put("text_encoder." + name, parameter));
    return all;
  }

  @Override
  public int examples() {
    return latents.size();
  }

  @Override
  public Tensor loss(Step step) {
    Rng rng = step.rng();
    int rows = step.examples().length;
    Tensor noise;
    Tensor noisy;
    Tensor ids;
    int[] indices = new int[rows];
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor z0 = latents.sample(step.examples(), rng); // [B, C, h, w]
      noise = scope.keep(Tensor.randn(rng, z0.shape()));
      ids = scope.keep(ids(step.examples(), rng)); // [B, L]
      long[] drawn = Tensor.randint(rng, schedule.size(), rows).toLongArray();
      Arrays.setAll(indices, i -> (int) drawn[i]);
      noisy = scope.keep(schedule.addNoise(z0, noise, indices));
    }
    Tensor condition = read(ids); // [B, L, D]
    Tensor timesteps = Tensor.generate(rows, i -> indices[i]);
    Tensor predicted = unet.forward(noisy.to(compute), timesteps, condition).to(DType.F32);
    return predicted.sub(noise).square().mul(weights(indices)).mean();
  }

  private Tensor read(Tensor ids) {
    if (!keepsText) {
      return text.forward(ids, compute).lastHiddenState();
    }
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      return scope.keep(text.forward(ids, compute).lastHiddenState());
    }
  }

  private Tensor ids(long[] examples, Rng rng) {
    Tensor kept = captions.ids().indexSelect(0, Captions.rows(examples, rng));
    Tensor drop = Tensor.rand(rng, examples.length, 1).lt(CAPTION_DROPOUT);
    return Tensor.where(drop, captions.empty(), kept);
  }

  /** min(SNR, γ)/SNR, the weight of an ε-loss, [B, 1, 1, 1]. */
  private Tensor weights(int[] indices) {
    return Tensor.generate(indices.length, i -> weight(schedule.alphaBar(indices[i]))).asRows(4);
  }

  private static double weight(double alphaBar) {
    double snr = alphaBar / (1 - alphaBar);
    return Math.min(snr, GAMMA) / snr;
  }
}
