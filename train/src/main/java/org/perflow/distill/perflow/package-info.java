/**
 * PeRFlow (arXiv 2405.07510). {@link org.perflow.distill.perflow.PerflowObjective} is algorithm 1:
 * the student learns the chords of the teacher's trajectory, {@link
 * org.perflow.distill.perflow.Chords}, which {@link org.perflow.distill.perflow.ChordSource} solves
 * the teacher's ODE for. {@link org.perflow.distill.perflow.PerflowOptions} are the settings,
 * {@link org.perflow.distill.perflow.PerflowMethod} makes a method of it, and {@link
 * org.perflow.distill.perflow.SanityProbe} tells before training whether the student can come to
 * anything.
 */
@NullMarked
package org.perflow.distill.perflow;

import org.jspecify.annotations.NullMarked;
