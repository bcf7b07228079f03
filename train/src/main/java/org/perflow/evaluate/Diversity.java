package org.perflow.evaluate;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.perflow.tensor.DType;
import org.perflow.tensor.Functional;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * How much pictures of one caption differ from each other: 1 - cosine of their features, over all
 * pairs of a caption's pictures, mean over captions. 0 where a system draws the same picture from
 * any noise. Beside it Vendi's score (Friedman and Dieng 2023, arXiv 2210.02410, eq. 5): how many
 * wholly different pictures a caption's would be worth, exp of the entropy of the eigenvalues of
 * the matrix of cosines over n; it grows with the number of pictures a caption.
 *
 * @param distance mean over captions, resampled by caption
 * @param vendi mean over captions
 */
public record Diversity(Estimate distance, Estimate vendi) {

  /**
   * Of features [N, D] whose captions are {@code captions}. Captions drawn once are left out; empty
   * where no caption was drawn twice.
   */
  public static Optional<Diversity> of(Tensor features, List<String> captions, long seed) {
    Map<String, List<Long>> members = new LinkedHashMap<>();
    for (int i = 0; i < captions.size(); i++) {
      members.computeIfAbsent(captions.get(i), caption -> new ArrayList<>()).add((long) i);
    }
    members.values().removeIf(rows -> rows.size() < 2);
    if (members.isEmpty()) {
      return Optional.empty();
    }
    double[] distances = new double[members.size()];
    double[] vendis = new double[members.size()];
    int at = 0;
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor x = features.to(DType.F64);
      Tensor unit = x.div(x.square().sum(1).clamp(1e-24, Double.MAX_VALUE).sqrt().unsqueeze(1));
      for (List<Long> rows : members.values()) {
        long n = rows.size();
        long[] index = rows.stream().mapToLong(Long::longValue).toArray();
        Tensor mine = unit.indexSelect(0, Tensor.of(index, n)); // [n, D]
        Tensor cosines = mine.matmul(mine.transpose(0, 1)); // [n, n]
        distances[at] = Math.max(0, 1 - (cosines.sum().item() - n) / (n * (n - 1)));
        vendis[at++] = vendi(cosines.div(n));
      }
    }
    Bootstrap bootstrap = Bootstrap.byPicture(members.size(), seed);
    return Optional.of(new Diversity(bootstrap.mean(distances), bootstrap.mean(vendis)));
  }

  private static double vendi(Tensor matrix) {
    double entropy = 0;
    for (double value : Functional.symmetricEigen(matrix).values().toDoubleArray()) {
      entropy -= value > 1e-12 ? value * Math.log(value) : 0;
    }
    return Math.exp(entropy);
  }
}
