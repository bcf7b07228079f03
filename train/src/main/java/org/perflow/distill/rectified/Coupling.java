package org.perflow.distill.rectified;

/** What lies at the ends of the straight lines that a rectified flow learns. */
public enum Coupling {
  /** The teacher's pictures, each with the noise that it was drawn from. */
  PAIRS,
  /** The teacher's pictures, with any noise. */
  SAMPLES,
  /** Pictures of the data, with any noise. */
  DATA
}
