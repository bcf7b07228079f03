package org.perflow.flow;

import java.util.Arrays;
import java.util.List;
import org.perflow.io.Suggestions;

/**
 * What a PeRFlow network predicts. Two kinds predict a noise ε that an affine link between the ends
 * of a window defines,
 *
 * <pre>  z_e = λ z_s + η ε,</pre>
 *
 * so that a pretrained ε-network is a good start; the third predicts the slope dz/dt itself. With r
 * = (t_s − t)/Δ and D = 1 − r + rλ, a point z_t on the chord gives (paper, eq. 6)
 *
 * <pre>  z_e = (λ z_t + (1−r) η ε)/D,     v = ((1−λ) z_t − η ε)/(Δ D),</pre>
 *
 * which stays finite where the official (z_e − z_t)/(t_e − t) is 0/0.
 */
public enum Parameterization {
  /** One deterministic DDIM step links the ends (paper eq. 8): an untrained student is the DDIM. */
  DDIM_EPS("ddim_eps"),
  /** Forward diffusion from end to start links them (paper eq. 7): ε is the incremental noise. */
  DIFF_EPS("diff_eps"),
  /** The output is dz/dt (paper eq. 3). */
  VELOCITY("velocity");

  /** λ and η of z_e = λ z_s + η ε. */
  public record Link(double lambda, double eta) {
    /** λ_t of z_e = λ_t z_t + η_t ε at progress r of the window. */
    public double lambdaAt(double r) {
      return lambda / denominator(r);
    }

    /** η_t of z_e = λ_t z_t + η_t ε at progress r of the window. */
    public double etaAt(double r) {
      return (1 - r) * eta / denominator(r);
    }

    /** v as a·z_t + b·ε at progress r of a window of width Δ. */
    public Affine velocityAt(double r, double width) {
      double scale = width * denominator(r);
      return new Affine((1 - lambda) / scale, -eta / scale);
    }

    private double denominator(double r) {
      return 1 - r + r * lambda;
    }
  }

  private final String key;

  Parameterization(String key) {
    this.key = key;
  }

  /** Its name in a PeRFlow scheduler's {@code prediction_type}. */
  public String key() {
    return key;
  }

  /**
   * The parameterisation with that key; {@code epsilon}, which older model cards say, is {@code
   * diff_eps}.
   *
   * @throws IllegalArgumentException naming the known ones
   */
  public static Parameterization parse(String key) {
    for (Parameterization value : values()) {
      if (value.key.equals(key)) {
        return value;
      }
    }
    if (key.equals("epsilon")) {
      return DIFF_EPS;
    }
    List<String> known = Arrays.stream(values()).map(Parameterization::key).toList();
    throw new IllegalArgumentException(
        Suggestions.unknown("prediction_type of a PeRFlow model", key, known));
  }

  /**
   * What a student that starts from a teacher's weights predicts best: an ε-teacher's output is a
   * DDIM step already, a v-teacher's points along dz/dt.
   */
  public static Parameterization natural(PredictionType teacher) {
    return teacher == PredictionType.EPSILON ? DDIM_EPS : VELOCITY;
  }

  /**
   * Refuses a teacher whose weights are no start for this: the ε-kinds need a network that predicts
   * ε. A velocity student may start from any; from others than a v-teacher it has farther to go.
   *
   * @throws IllegalArgumentException saying what goes together
   */
  public void requireStart(PredictionType teacher) {
    if (this != VELOCITY && teacher != PredictionType.EPSILON) {
      throw new IllegalArgumentException(
          "a teacher that predicts %s is no start for parameterization %s, which needs an epsilon"
                  .formatted(teacher.key(), key)
              + " teacher: use velocity");
    }
  }

  /**
   * The link between a start at ᾱ_s and an end at ᾱ_e.
   *
   * @throws IllegalStateException for {@link #VELOCITY}, which has none
   * @throws IllegalArgumentException where ᾱ_s is 0
   */
  public Link link(double alphaBarStart, double alphaBarEnd) {
    if (this != VELOCITY && !(alphaBarStart > 0)) {
      throw new IllegalArgumentException(
          "the schedule has zero terminal SNR: no finite λ links pure noise to a window's end; use"
              + " velocity with a v_prediction teacher, or a schedule without"
              + " rescale_betas_zero_snr");
    }
    double lambda = Math.sqrt(alphaBarEnd / alphaBarStart);
    return switch (this) {
      case DDIM_EPS ->
          new Link(lambda, Math.sqrt(1 - alphaBarEnd) - lambda * Math.sqrt(1 - alphaBarStart));
      case DIFF_EPS -> new Link(lambda, -Math.sqrt((alphaBarEnd - alphaBarStart) / alphaBarStart));
      case VELOCITY ->
          throw new IllegalStateException("a velocity network predicts dz/dt: it has no λ, η");
    };
  }
}
