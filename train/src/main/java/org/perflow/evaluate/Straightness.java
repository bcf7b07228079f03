package org.perflow.evaluate;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * How straight sampling trajectories are; 0 is a straight line run at constant speed.
 *
 * <p>{@code deviation} is S = ∫₀¹ E|(Z₁-Z₀) - v(Z_u, u)|² du (Liu, Gong, Liu 2022, arXiv
 * 2209.03003, eq. 5) over E|Z₁-Z₀|², with u the share of the time of the stretch that has passed.
 * {@code curvature} is the mean over pictures of 1 - |Z₁-Z₀| / Σ|Z_{i+1}-Z_i|, which does not see
 * speed.
 *
 * <p>The trajectory is taken as linear between recorded points, so v is (Z_{i+1}-Z_i) / (u_{i+1}-
 * u_i) and the integral is exactly Σ|Z_{i+1}-Z_i|²/(u_{i+1}-u_i) - |Z₁-Z₀|². One step is straight
 * by construction: record many steps (100, or 25 a window) whatever number the pictures are drawn
 * with.
 *
 * <p>Both depend on coordinates. {@link #inWindows} takes latents z against time t as they are, in
 * which PeRFlow makes its windows linear; {@link #rectified} changes to y = z/(a+s) against
 * s/(a+s), in which the straight path from one noise to one picture is a straight line while z
 * itself runs on an arc: there a teacher's own bend shows, but a chord of z is bent.
 */
public record Straightness(double deviation, double curvature) {
  private static final double NEAR = 5e-3; // a time this near to a window's edge stands for it

  /** Points of a batch of trajectories: latents [B, ...] at times that fall from noise to data. */
  public record Trajectory(List<Tensor> points, double[] times) {
    public Trajectory {
      points = List.copyOf(points);
      times = times.clone();
      if (points.size() != times.length || times.length < 2) {
        throw new IllegalArgumentException(
            "a trajectory needs 2 points or more and a time for each; got "
                + points.size()
                + " points and "
                + times.length
                + " times");
      }
      for (int i = 1; i < times.length; i++) {
        if (!(times[i] < times[i - 1])) {
          throw new IllegalArgumentException(
              "times must fall from noise to data; got " + Arrays.toString(times));
        }
      }
    }
  }

  /** Over a whole trajectory, in the coordinates it is given in. */
  public static Straightness of(Trajectory trajectory) {
    List<Tensor> points = trajectory.points();
    double[] times = trajectory.times();
    int last = times.length - 1;
    double[] chord = squaredDistances(points.get(0), points.get(last));
    double[] energy = new double[chord.length];
    double[] length = new double[chord.length];
    for (int i = 0; i < last; i++) {
      double share = (times[i] - times[i + 1]) / (times[0] - times[last]);
      double[] squares = squaredDistances(points.get(i), points.get(i + 1));
      for (int b = 0; b < chord.length; b++) {
        energy[b] += squares[b] / share;
        length[b] += Math.sqrt(squares[b]);
      }
    }
    double curvature = 0;
    for (int b = 0; b < chord.length; b++) {
      curvature += length[b] == 0 ? 0 : 1 - Math.sqrt(chord[b]) / length[b];
    }
    double chords = Arrays.stream(chord).sum();
    double deviation = chords == 0 ? 0 : Arrays.stream(energy).sum() / chords - 1;
    return new Straightness(Math.max(0, deviation), Math.max(0, curvature / chord.length));
  }

  /**
   * Mean over {@code windows} equal windows of time [0, 1] of the straightness within each; every
   * window needs two steps. Where no point lies within 5e-3 of a window's edge, as on the leading
   * timesteps of a teacher, the path is cut between points; such a point belongs to the caller's
   * scope. The earliest and latest points stand for times 1 and 0.
   */
  public static Straightness inWindows(Trajectory trajectory, int windows) {
    Trajectory path = trajectory;
    for (int window = 1; window < windows; window++) {
      path = withPointAt(path, 1 - (double) window / windows);
    }
    double[] times = path.times();
    double deviation = 0;
    double curvature = 0;
    int from = 0;
    for (int window = 1; window <= windows; window++) {
      int to = window == windows ? times.length - 1 : nearest(times, 1 - (double) window / windows);
      if (to - from < 2) {
        throw new IllegalArgumentException(
            "window " + window + " of " + windows + " holds fewer than 2 steps: record more steps");
      }
      Straightness part =
          of(
              new Trajectory(
                  path.points().subList(from, to + 1), Arrays.copyOfRange(times, from, to + 1)));
      deviation += part.deviation() / windows;
      curvature += part.curvature() / windows;
      from = to;
    }
    return new Straightness(deviation, curvature);
  }

  /** With a point on the line between two, unless there is one near enough. */
  private static Trajectory withPointAt(Trajectory path, double edge) {
    double[] times = path.times();
    if (Math.abs(times[nearest(times, edge)] - edge) <= NEAR) {
      return path;
    }
    int after = 0;
    while (after < times.length && times[after] > edge) {
      after++;
    }
    if (after == 0 || after == times.length) {
      throw new IllegalArgumentException(
          "the path from time %s to %s does not cross the window edge %s; record all of it"
              .formatted(times[0], times[times.length - 1], edge));
    }
    double share = (times[after - 1] - edge) / (times[after - 1] - times[after]);
    Tensor a = path.points().get(after - 1).to(DType.F64);
    Tensor b = path.points().get(after).to(DType.F64);
    List<Tensor> points = new ArrayList<>(path.points());
    points.add(after, a.mul(1 - share).add(b.mul(share)));
    double[] longer = new double[times.length + 1];
    System.arraycopy(times, 0, longer, 0, after);
    longer[after] = edge;
    System.arraycopy(times, after, longer, after + 1, times.length - after);
    return new Trajectory(points, longer);
  }

  /**
   * The same trajectory as y = z/(a+s) against s/(a+s), where z ~ a·data + s·noise at each point;
   * the new points belong to the caller's scope.
   */
  public static Trajectory rectified(List<Tensor> latents, double[] alpha, double[] sigma) {
    List<Tensor> points = new ArrayList<>();
    double[] times = new double[alpha.length];
    for (int i = 0; i < times.length; i++) {
      times[i] = sigma[i] / (alpha[i] + sigma[i]);
      points.add(latents.get(i).to(DType.F32).div(alpha[i] + sigma[i]));
    }
    return new Trajectory(points, times);
  }

  private static int nearest(double[] times, double edge) {
    int best = 0;
    for (int i = 1; i < times.length; i++) {
      best = Math.abs(times[i] - edge) < Math.abs(times[best] - edge) ? i : best;
    }
    return best;
  }

  private static double[] squaredDistances(Tensor a, Tensor b) {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor difference = a.to(DType.F64).sub(b.to(DType.F64)).reshape(a.size(0), -1);
      return difference.square().sum(1).toDoubleArray();
    }
  }
}
