package org.perflow.pretrain;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.NoiseSchedule;
import org.perflow.models.CLIPTextModel;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;
import org.perflow.train.Captions;
import org.perflow.train.LatentCache;
import org.perflow.train.Objective;

/**
 * Trains a text-to-image model: U-Net and text encoder together, or the U-Net alone, learn to
 * predict the noise in latents (Ho et al., arXiv 2006.11239), weighted by min-SNR-γ (Hang et al.,
 * arXiv 2303.09556). Owns what it read of captions if the text encoder stays as it is. One thread.
 */
public final class PretrainObjective implements Objective, AutoCloseable {
  private static final double GAMMA = 5;
  private static final double CAPTION_DROPOUT = 0.1;
  private static final int BATCH = 64; // of captions read at once

  private final LatentCache latents;
  private final Captions captions;
  private final UNet2DConditionModel unet;
  private final CLIPTextModel text;
  private final NoiseSchedule schedule;
  private final DType compute;
  private final @Nullable ReadCaptions read;

  /**
   * @param states of every distinct caption and the empty one, [M, L, D]
   * @param rows of states, for each row of {@link Captions#ids}
   */
  private record ReadCaptions(Tensor states, Tensor rows) {}

  /** Both models must have float32 weights; the caches belong to the caller. */
  public PretrainObjective(
      LatentCache latents,
      Captions captions,
      UNet2DConditionModel unet,
      CLIPTextModel text,
      NoiseSchedule schedule,
      DType compute) {
    this(latents, captions, unet, text, schedule, compute, null);
  }

  private PretrainObjective(
      LatentCache latents,
      Captions captions,
      UNet2DConditionModel unet,
      CLIPTextModel text,
      NoiseSchedule schedule,
      DType compute,
      @Nullable ReadCaptions read) {
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
    this.read = read;
  }

  /** The same, but the text encoder stays as it is, and reads every caption once, now. */
  public PretrainObjective keepingText() {
    return new PretrainObjective(latents, captions, unet, text, schedule, compute, readCaptions());
  }

  private ReadCaptions readCaptions() {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      int length = (int) captions.ids().size(1);
      long[] ids = captions.ids().toLongArray();
      Map<List<Long>, Long> places = new LinkedHashMap<>(); // few where captions name classes
      long[] rows = new long[ids.length / length];
      for (int i = 0; i < rows.length; i++) {
        List<Long> caption = Arrays.stream(ids, i * length, (i + 1) * length).boxed().toList();
        rows[i] = places.computeIfAbsent(caption, unseen -> (long) places.size());
      }
      Tensor distinct =
          Tensor.of(
              places.keySet().stream().flatMap(List::stream).mapToLong(id -> id).toArray(),
              places.size(),
              length);
      List<Tensor> states = new ArrayList<>();
      for (int from = 0; from < places.size(); from += BATCH) {
        try (Scope some = Scope.open()) {
          Tensor batch = distinct.narrow(0, from, Math.min(BATCH, places.size() - from));
          states.add(some.keep(text.forward(batch, compute).lastHiddenState()));
        }
      }
      return new ReadCaptions(scope.release(Tensor.cat(0, states)), scope.release(Tensor.of(rows)));
    }
  }

  @Override
  public Map<String, Parameter> parameters() {
    Map<String, Parameter> all = new LinkedHashMap<>();
    unet.namedParameters().forEach((name, parameter) -> all.put("unet." + name, parameter));
    if (read != null) {
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
  public List<long[]> groups() {
    return latents.groups();
  }

  @Override
  public Tensor loss(Step step) {
    Rng rng = step.rng();
    int rows = step.examples().length;
    Tensor noise;
    Tensor noisy;
    Tensor which;
    int[] indices = new int[rows];
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor z0 = latents.sample(step.examples(), rng); // [B, C, h, w]
      noise = scope.keep(Tensor.randnLike(rng, z0));
      which = scope.keep(which(step.examples(), rng)); // [B]
      long[] drawn = Tensor.randint(rng, schedule.size(), rows).toLongArray();
      Arrays.setAll(indices, i -> (int) drawn[i]);
      noisy = scope.keep(schedule.addNoise(z0, noise, indices));
    }
    Tensor condition = read(which); // [B, L, D]
    Tensor timesteps = Tensor.generate(rows, i -> indices[i]);
    Tensor predicted = unet.forward(noisy.to(compute), timesteps, condition).to(DType.F32);
    return predicted.sub(noise).square().mul(weights(indices).to(noise.device())).mean();
  }

  /** What the U-Net is told, [B, L, D], of the rows that {@link #which} drew. */
  private Tensor read(Tensor which) {
    if (read == null) {
      return text.forward(captions.ids().indexSelect(0, which), compute).lastHiddenState();
    }
    Tensor rows = read.rows().indexSelect(0, which);
    return read.states().indexSelect(0, rows.to(read.states().device()));
  }

  /** Rows of {@link Captions#ids}: for each example a wording of its own, or the empty caption. */
  private Tensor which(long[] examples, Rng rng) {
    Tensor kept = Captions.rows(examples, rng);
    Tensor drop = Tensor.rand(rng, examples.length).lt(CAPTION_DROPOUT);
    return Tensor.where(drop, Tensor.of(new long[] {captions.empty()}), kept);
  }

  /** min(SNR, γ)/SNR, the weight of an ε-loss, [B, 1, 1, 1]. */
  private Tensor weights(int[] indices) {
    return Tensor.generate(indices.length, i -> weight(schedule.alphaBar(indices[i]))).asRows(4);
  }

  private static double weight(double alphaBar) {
    double snr = alphaBar / (1 - alphaBar);
    return Math.min(snr, GAMMA) / snr;
  }

  @Override
  public void close() {
    if (read != null) {
      read.states().close();
      read.rows().close();
    }
  }
}
