/**
 * Methods that learn straight lines between noise and data: {@link
 * org.perflow.distill.rectified.ReflowMethod}, {@link
 * org.perflow.distill.rectified.InstaflowMethod} and {@link
 * org.perflow.distill.rectified.ShortcutMethod}, on data or on {@link
 * org.perflow.distill.rectified.TeacherPairs the teacher's own pictures}.
 */
@NullMarked
package org.perflow.distill.rectified;

import org.jspecify.annotations.NullMarked;
