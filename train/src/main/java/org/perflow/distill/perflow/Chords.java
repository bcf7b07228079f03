package org.perflow.distill.perflow;

import java.util.Collections;
import java.util.function.UnaryOperator;
import org.perflow.flow.Conditioning;
import org.perflow.tensor.Tensor;

/**
 * Chords, one a row: a chord is the straight line between the teacher's states at both ends of a
 * window of time. With each goes the time at which the student learns it.
 *
 * @param start z_s, the teacher's state at the noisier end, float32 [B, C, h, w]
 * @param end z_e, where the teacher's ODE takes it by the window's cleaner end
 * @param condition what the student is told, B rows
 * @param t times within the windows, (0, 1]
 */
@SuppressWarnings("ArrayRecordComponent") // passed on, never compared
record Chords(Tensor start, Tensor end, Conditioning condition, double[] t) {
  Chords each(UnaryOperator<Tensor> change) {
    return new Chords(change.apply(start), change.apply(end), condition.each(change), t);
  }

  static Tensor repeated(Tensor x, int times) {
    return times == 1 ? x : Tensor.cat(0, Collections.nCopies(times, x));
  }
}
