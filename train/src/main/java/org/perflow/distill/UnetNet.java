package org.perflow.distill;

import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.Conditioning;
import org.perflow.flow.Denoiser;
import org.perflow.flow.Network;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.models.lora.LoraAdapters;
import org.perflow.tensor.DType;
import org.perflow.tensor.Rng;
import org.perflow.tensor.nn.Parameter;

/** A U-Net that computes in an element type of its user's choice. */
public final class UnetNet implements Net {
  private static final String NUMBER_LAYER = "time_embedding.cond_proj.";

  private final UNet2DConditionModel unet;
  private final DType compute;
  private final @Nullable LoraAdapters adapters;
  private final boolean owned;

  private UnetNet(
      UNet2DConditionModel unet, DType compute, @Nullable LoraAdapters adapters, boolean owned) {
    this.unet = unet;
    this.compute = compute;
    this.adapters = adapters;
    this.owned = owned;
  }

  /**
   * One that stays its owner's.
   *
   * @param adapters trained in the place of the weights; null for these
   */
  public static UnetNet of(
      UNet2DConditionModel unet, DType compute, @Nullable LoraAdapters adapters) {
    return new UnetNet(unet, compute, adapters, false);
  }

  @Override
  public Denoiser given(Conditioning condition) {
    return Network.of(unet, compute).given(condition);
  }

  @Override
  public boolean takesNumber() {
    return unet.config().takesTimestepCond();
  }

  @Override
  public Denoiser features(Conditioning condition) {
    Conditioning told = condition.to(compute);
    return (z, timesteps) ->
        unet.features(z.to(compute), timesteps, told.text(), told.added()).to(DType.F32);
  }

  @Override
  public int featureChannels() {
    var channels = unet.config().blockOutChannels();
    return channels.get(channels.size() - 1);
  }

  /** With factors, the layer that reads the number beside time is trained too: teachers lack it. */
  @Override
  public Map<String, Parameter> parameters() {
    if (adapters == null) {
      return unet.namedParameters();
    }
    Map<String, Parameter> trained = new LinkedHashMap<>(adapters.parameters());
    unet.namedParameters()
        .forEach(
            (name, parameter) -> {
              if (name.startsWith(NUMBER_LAYER)) {
                trained.put(name, parameter);
              }
            });
    return trained;
  }

  @Override
  public Net copy() {
    return new UnetNet(copyOfWeights(), compute, null, true);
  }

  @Override
  public Net lora(int rank, Rng rng) {
    UNet2DConditionModel copy = copyOfWeights();
    return new UnetNet(copy, compute, LoraAdapters.attach(copy, rank, rank, rng), true);
  }

  private UNet2DConditionModel copyOfWeights() {
    UNet2DConditionModel copy = new UNet2DConditionModel(unet.config());
    copy.to(unet.device());
    copy.copyFrom(unet, DType.F32);
    return copy;
  }

  @Override
  public void close() {
    if (owned) {
      if (adapters != null) {
        adapters.close();
      }
      unet.close();
    }
  }
}
