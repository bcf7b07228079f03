package org.perflow.models.lora;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Module;
import org.perflow.tensor.nn.Parameter;
import org.perflow.tensor.nn.Parameter.Init;

/**
 * Low-rank factors to be trained in the place of a U-Net's weights: while attached, every matrix
 * and every convolution of its blocks is W + α/r · B · A, W frozen. A starts as PyTorch's linear
 * layers do and B as zeros, so that nothing is changed at first (Hu et al., arXiv 2106.09685,
 * section 4.1). First and last convolution and the time embedding stay as they are. Owns the
 * factors until closed; not thread-safe.
 */
public final class LoraAdapters implements AutoCloseable {
  private static final String WEIGHT = ".weight";

  private final Factors factors = new Factors();
  private final Map<String, Pair> pairs = new LinkedHashMap<>();
  private final List<Parameter> adapted = new ArrayList<>();
  private final double alpha;

  private static final class Factors extends Module {
    Pair add(String name, Pair pair) {
      return child(name, pair);
    }
  }

  private static final class Pair extends Module {
    private final Parameter down;
    private final Parameter up;

    Pair(long[] weight, long rank) {
      long columns = 1;
      long[] downShape = weight.clone(); // [r, in] or [r, in, k, k]
      downShape[0] = rank;
      for (int i = 1; i < weight.length; i++) {
        columns *= weight[i];
      }
      long[] upShape = weight.clone(); // [out, r] or [out, r, 1, 1]
      Arrays.fill(upShape, 1);
      upShape[0] = weight[0];
      upShape[1] = rank;
      down = parameter("lora_A.weight", Init.fanIn(columns), downShape);
      up = parameter("lora_B.weight", Init.constant(0), upShape);
    }
  }

  private LoraAdapters(double alpha) {
    this.alpha = alpha;
  }

  /**
   * Puts fresh factors into {@code unet}, whose weights must be float32 and stay so.
   *
   * @param rank r, at least 1
   * @param alpha α, the strength of the change: α = r adds B · A as it is
   */
  public static LoraAdapters attach(Module unet, int rank, double alpha, Rng rng) {
    if (rank < 1 || !(alpha > 0)) {
      throw new IllegalArgumentException(
          "LoRA rank must be 1 or more and alpha above 0; got " + rank + " and " + alpha);
    }
    LoraAdapters adapters = new LoraAdapters(alpha);
    Map<String, Parameter> targets = targets(unet);
    if (targets.isEmpty()) {
      throw new IllegalArgumentException("this model has no matrix in blocks to adapt");
    }
    targets.forEach(
        (name, target) ->
            adapters.pairs.put(name, adapters.factors.add(name, new Pair(target.shape(), rank))));
    adapters.factors.to(unet.device());
    adapters.factors.initialise(rng, DType.F32);
    targets.forEach(
        (name, target) -> {
          target.adapt(stored -> adapters.layer(name).changed(stored));
          adapters.adapted.add(target);
        });
    return adapters;
  }

  /**
   * How large they would be.
   *
   * @param weights that would be adapted
   * @param factors that would be trained, for each rank
   */
  public record Size(long weights, long factors) {}

  /** Of a U-Net, which need not have weights. */
  public static Size size(Module unet) {
    long weights = 0;
    long factors = 0;
    for (Parameter target : targets(unet).values()) {
      long[] shape = target.shape();
      long all = Arrays.stream(shape).reduce(1, (a, b) -> a * b);
      weights += all;
      factors += shape[0] + all / shape[0];
    }
    return new Size(weights, factors);
  }

  private static Map<String, Parameter> targets(Module unet) {
    Map<String, Parameter> targets = new LinkedHashMap<>();
    unet.namedParameters()
        .forEach(
            (name, parameter) -> {
              boolean inBlock = name.matches("(down_blocks|up_blocks|mid_block)\\..*");
              if (inBlock && name.endsWith(WEIGHT) && parameter.shape().length >= 2) {
                targets.put(name.substring(0, name.length() - WEIGHT.length()), parameter);
              }
            });
    return targets;
  }

  /** Moves the factors after the U-Net. */
  public void to(Device device) {
    factors.to(device);
  }

  /** What is trained, by peft's names: {@code mid_block....to_q.lora_A.weight}. */
  public Map<String, Parameter> parameters() {
    return factors.namedParameters();
  }

  /** The factors as they are now, to be written; the tensors stay this object's. */
  public List<LoraLayer> layers() {
    return pairs.keySet().stream().map(this::layer).toList();
  }

  private LoraLayer layer(String name) {
    Pair pair = Objects.requireNonNull(pairs.get(name));
    Tensor down = pair.down.value();
    return new LoraLayer(LoraNames.UNET, name, down, pair.up.value(), alpha);
  }

  /** Gives the U-Net its own weights back and frees the factors. */
  @Override
  public void close() {
    adapted.forEach(Parameter::restore);
    adapted.clear();
    factors.close();
  }
}
