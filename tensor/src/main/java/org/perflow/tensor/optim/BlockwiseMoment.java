package org.perflow.tensor.optim;

import java.util.Arrays;
import java.util.Map;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.Rounding;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * One byte a weight (Dettmers et al., arXiv 2110.02861, sections 2.1 and 2.2, as in bitsandbytes):
 * of every {@value #BLOCK} numbers the largest magnitude is kept in float32, and of each number the
 * nearest of 256 parts of that. The parts are a dynamic tree: seven powers of ten, and the greater
 * the power, the more steps in it.
 */
final class BlockwiseMoment implements Moment {
  /** Numbers that share a scale. */
  static final int BLOCK = 256;

  private static final int POWERS = 7;

  private final Tensor codes; // [blocks, BLOCK] uint8
  private final Tensor scales; // [blocks, 1] float32
  private final Tensor table; // [256] float32, rising
  private final Tensor between; // [255] float32

  /**
   * Zeros, as many as {@code like} has elements, on its device.
   *
   * @param signed whether numbers may be below 0; else their bit makes the steps finer
   */
  BlockwiseMoment(Tensor like, boolean signed) {
    Device device = like.device();
    long blocks = (like.numel() + BLOCK - 1) / BLOCK;
    double[] parts = table(signed);
    byte[] zeros = new byte[BLOCK];
    Arrays.fill(zeros, (byte) Arrays.binarySearch(parts, 0));
    try (Scope scope = Scope.open()) {
      table = scope.release(Tensor.generate(parts.length, i -> parts[i]).to(device));
      // A square that is small beside others of its block must not become 0, which is divided by.
      between =
          scope.release(
              Tensor.generate(
                      parts.length - 1,
                      i -> parts[i] == 0 && !signed ? 0 : (parts[i] + parts[i + 1]) / 2)
                  .to(device));
      codes = scope.release(Tensor.empty(DType.U8, device, blocks, BLOCK));
      codes.copyInPlace(Tensor.of(zeros, BLOCK).to(device));
      scales = scope.release(Tensor.zeros(DType.F32, device, blocks, 1));
    }
  }

  /**
   * The 256 parts: 0, 1, and the middles of equal steps from a tenth of each power to all of it.
   */
  static double[] table(boolean signed) {
    double[] parts = new double[256];
    int next = 0;
    for (int power = 0; power < POWERS; power++) {
      int steps = 1 << (signed ? power : power + 1);
      double scale = Math.pow(10, power - POWERS + 1);
      for (int step = 0; step < steps; step++) {
        double part = scale * (0.1 + 0.9 * (step + 0.5) / steps);
        parts[next++] = part;
        if (signed) {
          parts[next++] = -part;
        }
      }
    }
    parts[next++] = 0;
    parts[next] = 1;
    Arrays.sort(parts);
    return parts;
  }

  @Override
  public Tensor read(long from, long count) {
    long first = from / BLOCK;
    long blocks = (count + BLOCK - 1) / BLOCK;
    Tensor index = codes.narrow(0, first, blocks).reshape(-1).to(DType.I32);
    Tensor parts = table.indexSelect(0, index).reshape(blocks, BLOCK);
    return parts.mul(scales.narrow(0, first, blocks)).reshape(-1).narrow(0, 0, count);
  }

  @Override
  public void write(long from, Tensor piece) {
    long count = piece.numel();
    long first = from / BLOCK;
    long blocks = (count + BLOCK - 1) / BLOCK;
    Tensor whole =
        count == blocks * BLOCK
            ? piece
            : Tensor.cat(0, piece, Tensor.zeros(DType.F32, piece.device(), blocks * BLOCK - count));
    Tensor rows = whole.reshape(blocks, BLOCK);
    Tensor largest = Rounding.largest(rows);
    Tensor parts = rows.div(largest.clamp(Float.MIN_NORMAL, Float.MAX_VALUE));
    codes.narrow(0, first, blocks).copyInPlace(Rounding.nearest(parts, between));
    scales.narrow(0, first, blocks).copyInPlace(largest);
  }

  @Override
  public Map<String, Tensor> state() {
    return Map.of(".codes", codes, ".scales", scales);
  }

  @Override
  public void close() {
    codes.close();
    scales.close();
    table.close();
    between.close();
  }
}
