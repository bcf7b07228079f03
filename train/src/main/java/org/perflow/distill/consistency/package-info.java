/**
 * Consistency distillation: {@link org.perflow.distill.consistency.LcmMethod}, {@link
 * org.perflow.distill.consistency.PcmMethod} and {@link org.perflow.distill.consistency.TcdMethod}
 * share one objective and one averaged target network.
 */
@NullMarked
package org.perflow.distill.consistency;

import org.jspecify.annotations.NullMarked;
