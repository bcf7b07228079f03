package org.perflow.train;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;

/** Told what a {@link Trainer} does, on its thread. */
public interface TrainListener {
  /**
   * After an optimiser step.
   *
   * @param step steps made so far, from 1
   * @param progress part of the run that is done, 0 to 1
   * @param loss mean over the step's micro-batches
   * @param gradientNorm before clipping
   * @param learningRate of this step
   * @param images seen so far, those of earlier sittings too
   * @param seconds trained so far, in all sittings
   * @param imagesPerSecond since the run was started or resumed
   * @param secondsLeft estimate
   */
  record Report(
      long step,
      double progress,
      double loss,
      double gradientNorm,
      double learningRate,
      long images,
      double seconds,
      double imagesPerSecond,
      double secondsLeft) {}

  /**
   * Training starts, or goes on: what it learns from is ready.
   *
   * @param name of what is trained, such as the method's or "vae"
   */
  default void onStart(String name) throws IOException {}

  /**
   * Asked after every step: whether the run is to write a checkpoint and end with a {@link
   * StoppedException}.
   */
  default boolean wantsStop() {
    return false;
  }

  /** Something to know about the run. */
  default void onNote(String note) throws IOException {}

  /** Every {@link TrainOptions#logEvery} steps. */
  default void onStep(Report report) throws IOException {}

  /** A sample grid, drawn with the averaged weights. */
  default void onSample(long step, BufferedImage grid) throws IOException {}

  /** A checkpoint is on disk. */
  default void onCheckpoint(long step, Path folder) throws IOException {}

  /** The run is over. */
  default void onEnd() throws IOException {}
}
