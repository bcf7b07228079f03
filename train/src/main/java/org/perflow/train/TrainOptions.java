package org.perflow.train;

import io.soabase.recordbuilder.core.RecordBuilder;
import org.perflow.io.Overrides;
import org.perflow.tensor.Compute;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.optim.AdamW;
import org.perflow.tensor.optim.Moments;

/**
 * Settings of a {@link Trainer}, the same for every objective. Immutable, valid once made; JSON by
 * these names ({@link Overrides}).
 *
 * @param steps optimiser steps after which to stop; 0 = no such limit
 * @param minutes wall time after which to stop; 0 = no such limit. Resuming is bit-exact only where
 *     the steps are what ends the run, since decay follows the nearer of both limits
 * @param batch examples of one micro-batch
 * @param accumulate micro-batches of one optimiser step
 * @param learningRate peak
 * @param decay how it falls after the warm-up
 * @param warmup steps in which the learning rate rises linearly to its peak
 * @param beta1 of AdamW
 * @param beta2 of AdamW
 * @param weightDecay of AdamW
 * @param moments how AdamW's two averages are kept; fewer bits take less memory
 * @param clip largest gradient norm; 0 = no clipping
 * @param ema largest decay of the averaged weights; 0 = no averaging
 * @param compute element type of the forward and backward pass; weights are always float32
 * @param device where it is trained
 * @param gradientCheckpointing compute blocks twice to save memory
 * @param seed of the data order and of all noise
 * @param logEvery steps between two records of loss and learning rate
 * @param sampleEvery steps between two sample grids; 0 = none
 * @param checkpointEvery steps between two checkpoints; 0 = only at the end
 * @param keepCheckpoints how many of the newest stay
 */
@RecordBuilder
public record TrainOptions(
    long steps,
    double minutes,
    int batch,
    int accumulate,
    double learningRate,
    Decay decay,
    long warmup,
    double beta1,
    double beta2,
    double weightDecay,
    Moments moments,
    double clip,
    double ema,
    Compute compute,
    Device device,
    boolean gradientCheckpointing,
    long seed,
    int logEvery,
    long sampleEvery,
    long checkpointEvery,
    int keepCheckpoints)
    implements TrainOptionsBuilder.With {

  /** How the learning rate falls over the run. */
  public enum Decay {
    CONSTANT,
    COSINE,
    LINEAR
  }

  /** The PeRFlow recipe on a small machine. */
  public static final TrainOptions DEFAULTS =
      TrainOptionsBuilder.builder()
          .steps(1000)
          .minutes(0)
          .batch(32)
          .accumulate(1)
          .learningRate(1e-4)
          .decay(Decay.CONSTANT)
          .warmup(50)
          .beta1(0.9)
          .beta2(0.999)
          .weightDecay(1e-2)
          .moments(Moments.FLOAT32)
          .clip(1.0)
          .ema(0.999)
          .compute(Compute.AUTO)
          .device(Device.AUTO)
          .gradientCheckpointing(false)
          .seed(0)
          .logEvery(1)
          .sampleEvery(0)
          .checkpointEvery(500)
          .keepCheckpoints(2)
          .build();

  public TrainOptions {
    require(
        steps >= 0 && minutes >= 0 && (steps > 0 || minutes > 0),
        "steps or minutes must be above 0, else the run has no end; got "
            + steps
            + " and "
            + minutes);
    require(
        batch > 0 && accumulate > 0,
        "batch and accumulate must be 1 or more; got " + batch + " and " + accumulate);
    require(
        learningRate > 0 && learningRate < 1,
        "learningRate must lie between 0 and 1; got " + learningRate);
    require(warmup >= 0, "warmup must be 0 or more steps; got " + warmup);
    require(clip >= 0, "clip must be 0 (off) or above; got " + clip);
    require(ema >= 0 && ema < 1, "ema must be 0 (off) or a decay below 1; got " + ema);
    require(
        logEvery > 0 && sampleEvery >= 0 && checkpointEvery >= 0,
        "logEvery must be 1 or more, sampleEvery and checkpointEvery 0 or more");
    require(keepCheckpoints > 0, "keepCheckpoints must be 1 or more; got " + keepCheckpoints);
    var unused = new AdamW.Options(beta1, beta2, 1e-8, weightDecay); // checks the rest
  }

  private static void require(boolean holds, String otherwise) {
    if (!holds) {
      throw new IllegalArgumentException(otherwise);
    }
  }

  /** The element type of forward and backward pass, on {@link #device}. */
  public DType computeType() {
    return compute.dtype(device);
  }

  AdamW.Options adam() {
    return new AdamW.Options(beta1, beta2, 1e-8, weightDecay);
  }

  /**
   * Learning rate of optimiser step {@code step} (from 0) when {@code progress} (0..1) of the run
   * is done: a linear warm-up whose first step already moves, times the decay.
   */
  public double learningRate(long step, double progress) {
    double warm = warmup == 0 ? 1 : Math.min(1, (step + 1.0) / warmup);
    double decayed =
        switch (decay) {
          case CONSTANT -> 1;
          case COSINE -> 0.5 * (1 + Math.cos(Math.PI * Math.min(1, progress)));
          case LINEAR -> 1 - Math.min(1, progress);
        };
    return learningRate * warm * decayed;
  }
}
