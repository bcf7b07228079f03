/**
 * Consistency distillation: from any point of the teacher's trajectory the student jumps straight
 * to a point further on, and must land in the same place from both ends of one teacher step. {@link
 * org.perflow.distill.consistency.ConsistencyObjective} is that loss, with a slow average of the
 * student as the second opinion ({@link org.perflow.distill.consistency.TargetNetwork}). The
 * methods differ in where the jump ends: at the data ({@link
 * org.perflow.distill.consistency.LcmMethod}), at the end of a phase ({@link
 * org.perflow.distill.consistency.PcmMethod}), or at any level ({@link
 * org.perflow.distill.consistency.TcdMethod}).
 */
@NullMarked
package org.perflow.distill.consistency;

import org.jspecify.annotations.NullMarked;
