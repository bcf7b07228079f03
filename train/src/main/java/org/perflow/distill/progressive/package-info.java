/**
 * Progressive distillation: {@link org.perflow.distill.progressive.ProgressiveMethod} halves the
 * steps until few are left.
 */
@NullMarked
package org.perflow.distill.progressive;

import org.jspecify.annotations.NullMarked;
