package org.perflow.models;

import org.jspecify.annotations.Nullable;
import org.perflow.tensor.Functional;
import org.perflow.tensor.Tape;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Conv2d;
import org.perflow.tensor.nn.GroupNorm;
import org.perflow.tensor.nn.Linear;
import org.perflow.tensor.nn.Module;

/**
 * Two convolutions with normalisation before each and a shortcut around both; in the U-Net the time
 * is added between them. Thread-safe while nobody changes the weights.
 */
final class ResnetBlock2D extends Module {
  private final GroupNorm norm1;
  private final Conv2d conv1;
  private final @Nullable Linear timeEmbProj;
  private final GroupNorm norm2;
  private final Conv2d conv2;
  private final @Nullable Conv2d convShortcut;

  /** Without time where {@code timeChannels} is 0. */
  ResnetBlock2D(int in, int out, int timeChannels, int groups, double eps) {
    norm1 = child("norm1", new GroupNorm(groups, in, eps));
    conv1 = child("conv1", new Conv2d(in, out, 3, 1, 1));
    timeEmbProj = timeChannels == 0 ? null : child("time_emb_proj", new Linear(timeChannels, out));
    norm2 = child("norm2", new GroupNorm(groups, out, eps));
    conv2 = child("conv2", new Conv2d(out, out, 3, 1, 1));
    convShortcut = in == out ? null : child("conv_shortcut", new Conv2d(in, out, 1, 1, 0));
  }

  /** x [B, in, H, W] to [B, out, H, W]; a block of {@link Tape}. */
  Tensor forward(Tensor x) {
    return Tape.block(inputs -> compute(inputs.get(0), null), x);
  }

  /** The same with {@code time} [B, timeChannels], silu already applied: all blocks share it. */
  Tensor forward(Tensor x, Tensor time) {
    return Tape.block(inputs -> compute(inputs.get(0), inputs.get(1)), x, time);
  }

  private Tensor compute(Tensor x, @Nullable Tensor time) {
    Tensor h = conv1.forward(norm1.forwardSilu(x)); // [B, out, H, W]
    if (timeEmbProj != null && time != null) {
      h = Functional.sum(h, timeEmbProj.forward(time).unsqueeze(-1).unsqueeze(-1));
    }
    h = conv2.forward(norm2.forwardSilu(h));
    return Functional.sum(h, convShortcut == null ? x : convShortcut.forward(x));
  }
}
