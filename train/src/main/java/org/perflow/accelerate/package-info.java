/**
 * The front door to acceleration: {@link org.perflow.accelerate.Accelerator} leads from a teacher's
 * folder and captioned pictures to a student's folder, by one of {@link
 * org.perflow.accelerate.Methods} or a method of one's own. What it puts together and checks is a
 * {@link org.perflow.distill.StudentRun}. {@link org.perflow.accelerate.Benchmark} says what
 * drawing and training cost on a machine.
 */
@NullMarked
package org.perflow.accelerate;

import org.jspecify.annotations.NullMarked;
