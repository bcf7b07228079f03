package org.perflow.delta;

import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.perflow.io.FormatException;
import org.perflow.io.NamedTensors;
import org.perflow.io.WeightsKind;
import org.perflow.io.WeightsKind.Family;
import org.perflow.models.lora.LoraFile;
import org.perflow.models.lora.LoraLayer;
import org.perflow.tensor.DType;
import org.perflow.tensor.Functional;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * A delta as a LoRA, for tools that load nothing else: the truncated singular value decomposition
 * of every matrix's and every convolution's change, the best approximation of that rank (Eckart and
 * Young 1936). Changes of biases and norms cannot go along; {@link Report} says how much that is.
 *
 * <pre>{@code
 * Path lora = Path.of("accelerator.safetensors");
 * DeltaLora.Report report =
 *     DeltaLora.write(
 *         Path.of("delta.safetensors"), 64, LoraFile.Format.KOHYA, DType.F16, lora);
 * System.out.printf("keeps %.1f%% of the delta%n", 100 * report.kept());
 * }</pre>
 */
public final class DeltaLora {
  private DeltaLora() {}

  /**
   * One layer.
   *
   * @param rank of its factors: the wanted one, or its full rank where that is less
   * @param norm of its change
   * @param kept part of norm² that the factors hold, 0 to 1
   */
  public record Layer(String name, long rank, double norm, double kept) {}

  /**
   * What went along; energies are squared norms.
   *
   * @param layers those of the LoRA; unchanged ones are left out
   * @param keptOfLayers part of these layers' energy that the factors hold
   * @param kept part of the whole delta's energy that the factors hold
   * @param notCarried part of the whole delta's energy that is in biases and norms
   * @param notCarriedWeights how many of these change
   */
  public record Report(
      List<Layer> layers,
      double keptOfLayers,
      double kept,
      double notCarried,
      int notCarriedWeights) {}

  /**
   * Factors of a matrix.
   *
   * @param up [m, r]
   * @param down [r, n]
   * @param kept part of the squared norm that up · down holds
   */
  record Truncated(Tensor up, Tensor down, double kept) {}

  /**
   * Writes the LoRA.
   *
   * @param rank at least 1
   * @param type element type of the factors
   */
  public static Report write(Path delta, int rank, LoraFile.Format format, DType type, Path out)
      throws IOException {
    if (rank < 1) {
      throw new IllegalArgumentException("rank must be 1 or more; got " + rank);
    }
    try (NamedTensors change = Delta.open(delta);
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Delta.requireDelta(delta, change);
      if (change.entries().containsKey(Delta.GUIDANCE_LAYER)) {
        throw new FormatException(
            delta
                + " is of a student that embeds its guidance, by a layer that no LoRA has room for:"
                + " train one by the method lcm-lora");
      }
      List<LoraLayer> factors = new ArrayList<>();
      List<Layer> layers = new ArrayList<>();
      double lost = 0;
      int lostWeights = 0;
      for (NamedTensors.Entry entry : change.entries().values()) {
        try (Scope each = Scope.open()) {
          Tensor value = change.read(entry.name(), DType.F32);
          double norm = value.norm().item();
          if (norm == 0) {
            continue;
          }
          if (entry.shape().length < 2 || !entry.name().endsWith(".weight")) {
            lost += norm * norm;
            lostWeights++;
            continue;
          }
          Truncated truncated = truncate(value.reshape(value.size(0), -1), rank);
          LoraLayer layer = layer(entry, truncated);
          each.keep(layer.down());
          each.keep(layer.up());
          factors.add(layer);
          layers.add(new Layer(layer.module(), layer.rank(), norm, truncated.kept()));
        }
      }
      LoraFile.write(out, factors, format, type, header(change));
      return report(layers, lost, lostWeights);
    }
  }

  private static LoraLayer layer(NamedTensors.Entry entry, Truncated truncated) {
    long rank = truncated.down().size(0);
    long[] down = entry.shape(); // [r, in] or [r, in, k, k]
    down[0] = rank;
    long[] up = new long[down.length]; // [out, r] or [out, r, 1, 1]
    Arrays.fill(up, 1);
    up[0] = truncated.up().size(0);
    up[1] = rank;
    String name = entry.name();
    return new LoraLayer(
        "unet",
        name.substring(0, name.length() - ".weight".length()),
        truncated.down().reshape(down),
        truncated.up().reshape(up),
        rank);
  }

  /**
   * The r largest singular values and vectors of a float32 matrix [m, n], r cut to its full rank;
   * from the eigenvectors of the smaller of M Mᵀ and Mᵀ M in float64, whose errors lie below
   * float32's. √σ goes to either factor, which keeps both in the range of half precision.
   */
  static Truncated truncate(Tensor matrix, int rank) {
    Tensor m = matrix.to(DType.F64);
    if (m.size(0) > m.size(1)) {
      Truncated turned = truncate(matrix.transpose(0, 1), rank);
      return new Truncated(
          turned.down().transpose(0, 1).contiguous(),
          turned.up().transpose(0, 1).contiguous(),
          turned.kept());
    }
    long full = m.size(0);
    long r = Math.min(rank, full);
    Functional.Eigen eigen = Functional.symmetricEigen(m.matmul(m.transpose(0, 1)));
    Tensor squares = eigen.values().clamp(0, Double.MAX_VALUE); // σ², ascending
    Tensor u = eigen.vectors().narrow(1, full - r, r).flip(1); // [m, r], largest first
    double floor = Math.max(Double.MIN_NORMAL, squares.max().item() * 1e-20); // σ = 0: no 0/0
    Tensor root =
        squares.narrow(0, full - r, r).flip(0).clamp(floor, Double.MAX_VALUE).pow(0.25); // √σ
    Tensor up = u.mul(root);
    Tensor down = u.transpose(0, 1).matmul(m).div(root.unsqueeze(1));
    double all = m.square().sum().item();
    double kept = squares.narrow(0, full - r, r).sum().item() / all;
    return new Truncated(up.to(DType.F32), down.to(DType.F32), Math.min(1, kept));
  }

  private static Map<String, String> header(NamedTensors change) {
    Map<String, String> header = new TreeMap<>(change.metadata());
    header.remove("kind");
    Family family = WeightsKind.of(change).map(WeightsKind::family).orElse(null);
    if (family == Family.SD1) {
      header.put("ss_base_model_version", "sd_v1");
    } else if (family == Family.SD2) {
      header.put("ss_base_model_version", "sd_v2");
    } else if (family == Family.SDXL) {
      header.put("ss_base_model_version", "sdxl_base_v1-0");
    }
    return header;
  }

  private static Report report(List<Layer> layers, double lost, int lostWeights) {
    double inLayers = 0;
    double kept = 0;
    for (Layer layer : layers) {
      inLayers += layer.norm() * layer.norm();
      kept += layer.norm() * layer.norm() * layer.kept();
    }
    double all = inLayers + lost;
    return new Report(
        List.copyOf(layers),
        inLayers == 0 ? 1 : kept / inLayers,
        all == 0 ? 1 : kept / all,
        all == 0 ? 0 : lost / all,
        lostWeights);
  }
}
