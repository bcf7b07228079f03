package org.perflow.evaluate;

import java.util.Arrays;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Whether drawn pictures look like the reference's and cover them all, by balls around each picture
 * that reach to its k-th nearest fellow. Precision and recall as improved by Kynkäänniemi et al.
 * 2019 (arXiv 1904.06991), k = 3; density and coverage by Naeem et al. 2020 (arXiv 2002.09797), k =
 * 5, which one odd picture with a huge ball cannot raise. Each figure is a mean over pictures, so
 * the values of the pictures are kept and resampled (the balls stay as they are).
 *
 * @param precise for each drawn picture 1 where it lies in a ball of the reference's
 * @param recalled for each picture of the reference 1 where it lies in a ball of the drawn
 * @param density for each drawn picture in how many balls of the reference's it lies, over k
 * @param covered for each picture of the reference 1 where a drawn one lies in its ball
 */
public record PrecisionRecall(
    double[] precise, double[] recalled, double[] density, double[] covered) {
  private static final int NEIGHBOURS = 3;
  private static final int DENSITY_NEIGHBOURS = 5;
  private static final int TILE = 256;

  /** The fewest pictures of each set. */
  public static final int FEWEST = DENSITY_NEIGHBOURS + 1;

  /** Of features [N, D] against [M, D], both of {@link #FEWEST} pictures or more. */
  public static PrecisionRecall of(Tensor drawn, Tensor reference) {
    if (drawn.size(0) < FEWEST || reference.size(0) < FEWEST) {
      throw new IllegalArgumentException(
          "precision and recall need %d pictures or more in each set; got %d and %d"
              .formatted(FEWEST, drawn.size(0), reference.size(0)));
    }
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor x = drawn.to(DType.F64);
      Tensor y = reference.to(DType.F64);
      double[][] near = new double[(int) x.size(0)][];
      eachRow(x, x, (i, row) -> near[i] = nearest(row, i));
      double[][] nearReference = new double[(int) y.size(0)][];
      eachRow(y, y, (i, row) -> nearReference[i] = nearest(row, i));
      PrecisionRecall result =
          new PrecisionRecall(
              new double[near.length],
              new double[nearReference.length],
              new double[near.length],
              new double[nearReference.length]);
      eachRow(x, y, (i, row) -> result.add(i, row, near[i], nearReference));
      return result;
    }
  }

  /** Drawn picture i at squared distances {@code row} from the reference's. */
  private void add(int i, double[] row, double[] near, double[][] nearReference) {
    for (int j = 0; j < row.length; j++) {
      double ball = nearReference[j][NEIGHBOURS - 1];
      precise[i] = row[j] <= ball ? 1 : precise[i];
      recalled[j] = row[j] <= near[NEIGHBOURS - 1] ? 1 : recalled[j];
      if (row[j] < nearReference[j][DENSITY_NEIGHBOURS - 1]) {
        density[i] += 1.0 / DENSITY_NEIGHBOURS;
        covered[j] = 1;
      }
    }
  }

  private interface Row {
    void accept(int i, double[] squaredDistances);
  }

  private static void eachRow(Tensor x, Tensor y, Row consumer) {
    try (Scope scope = Scope.open()) {
      Tensor squares = y.square().sum(1);
      for (long from = 0; from < x.size(0); from += TILE) {
        try (Scope tile = Scope.open()) {
          Tensor part = x.narrow(0, from, Math.min(TILE, x.size(0) - from));
          Tensor products = part.matmul(y.transpose(0, 1)).mul(-2);
          double[] all =
              products.add(squares).add(part.square().sum(1).unsqueeze(1)).toDoubleArray();
          int width = (int) y.size(0);
          for (int i = 0; i * width < all.length; i++) {
            consumer.accept((int) from + i, Arrays.copyOfRange(all, i * width, (i + 1) * width));
          }
        }
      }
    }
  }

  /** Squared distances to the nearest few others than {@code itself}, ascending. */
  private static double[] nearest(double[] row, int itself) {
    double[] best = new double[DENSITY_NEIGHBOURS];
    Arrays.fill(best, Double.POSITIVE_INFINITY);
    for (int j = 0; j < row.length; j++) {
      if (j != itself && row[j] < best[best.length - 1]) {
        int at = best.length - 1;
        for (; at > 0 && best[at - 1] > row[j]; at--) {
          best[at] = best[at - 1];
        }
        best[at] = row[j];
      }
    }
    return best;
  }
}
