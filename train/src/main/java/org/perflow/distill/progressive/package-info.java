/**
 * Progressive distillation: {@link org.perflow.distill.progressive.ProgressiveMethod} trains a
 * student whose one step is two of its teacher's, makes that student the teacher, and so halves the
 * number of steps until few are left.
 */
@NullMarked
package org.perflow.distill.progressive;

import org.jspecify.annotations.NullMarked;
