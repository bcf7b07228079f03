package org.perflow.memory;

/**
 * What a method keeps beside student and teacher, each as a multiple of the student's weights.
 *
 * @param trained networks with gradients and moments of their own, such as a full fake score
 * @param frozen copies in float32
 */
public record Beside(double trained, double frozen) {
  /** What a discriminator or low-rank factors come to, about. */
  public static final double SMALL = 0.02;

  /** Nothing. */
  public static final Beside NOTHING = new Beside(0, 0);
}
