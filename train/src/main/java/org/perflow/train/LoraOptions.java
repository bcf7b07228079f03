package org.perflow.train;

import io.soabase.recordbuilder.core.RecordBuilder;
import org.perflow.io.Overrides;

/**
 * Whether a student is trained as a LoRA. Immutable, valid once made; JSON by these names ({@link
 * Overrides}).
 *
 * @param loraRank rank of the factors that are trained in the place of the weights; 0 = all weights
 * @param loraAlpha strength of the change, as a multiple of 1/rank; 0 = the rank itself
 */
@RecordBuilder
public record LoraOptions(int loraRank, double loraAlpha) implements LoraOptionsBuilder.With {
  /** All weights are trained. */
  public static final LoraOptions DEFAULTS = new LoraOptions(0, 0);

  public LoraOptions {
    if (loraRank < 0 || !(loraAlpha >= 0) || loraRank == 0 && loraAlpha > 0) {
      throw new IllegalArgumentException(
          "loraRank and loraAlpha must be 0 or above, and loraAlpha goes with a loraRank; got "
              + loraRank
              + " and "
              + loraAlpha);
    }
  }

  /** Whether only low-rank factors are trained. */
  public boolean lowRank() {
    return loraRank > 0;
  }

  /** α. */
  public double alpha() {
    return loraAlpha > 0 ? loraAlpha : loraRank;
  }
}
