/**
 * The mathematics between a teacher and its student: noise, windows of time, and the lines across
 * them.
 *
 * <p>Read in this order: {@link org.perflow.flow.NoiseSchedule} (how much noise at each of the 1000
 * indices), {@link org.perflow.flow.PredictionType} (what a teacher predicts, and the DDIM step),
 * {@link org.perflow.flow.TimeWindows} and {@link org.perflow.flow.Parameterization} (PeRFlow's
 * closed forms), {@link org.perflow.flow.PiecewiseFlow} (the three together, on batches), {@link
 * org.perflow.flow.PfOdeSolver} with {@link org.perflow.flow.TeacherSolver} (the teacher's ODE over
 * a window), {@link org.perflow.flow.Network}, {@link org.perflow.flow.Conditioning} and {@link
 * org.perflow.flow.Guidance} (a network, what it is told, and how strongly: together a {@link
 * org.perflow.flow.Denoiser}), {@link org.perflow.flow.Recommended} (how a model asks to be drawn
 * with).
 *
 * <p>Times are 0 (data) to 1 (noise); indices 0 to 999; a student is told 1000 t.
 */
@NullMarked
package org.perflow.flow;

import org.jspecify.annotations.NullMarked;
