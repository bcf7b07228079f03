/**
 * Methods that learn straight lines between noise and data, along which Euler's method needs few
 * steps ({@link org.perflow.distill.rectified.StraightLines}). The lines end on data or on pictures
 * that the teacher has drawn once, {@link org.perflow.distill.rectified.TeacherPairs}. {@link
 * org.perflow.distill.rectified.ReflowMethod} learns their velocity, {@link
 * org.perflow.distill.rectified.InstaflowMethod} goes on to one step, and {@link
 * org.perflow.distill.rectified.ShortcutMethod} is told how long its steps are.
 */
@NullMarked
package org.perflow.distill.rectified;

import org.jspecify.annotations.NullMarked;
