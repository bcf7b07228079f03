/**
 * From noise to pictures: what a diffusion model's output means, and how to follow it.
 *
 * <p>Read in this order: {@link org.perflow.flow.NoiseSchedule} (how much noise at each of the 1000
 * indices), {@link org.perflow.flow.PredictionType} (what a teacher predicts, and the DDIM step),
 * {@link org.perflow.flow.TimeWindows} and {@link org.perflow.flow.Parameterization} (PeRFlow's
 * closed forms), {@link org.perflow.flow.PiecewiseFlow} (the three together, on batches), {@link
 * org.perflow.flow.PfOdeSolver} (the teacher's way through one window: the training target) by a
 * {@link org.perflow.flow.TeacherSolver}, {@link org.perflow.flow.Scheduler} with {@link
 * org.perflow.flow.PerflowScheduler}, {@link org.perflow.flow.DdimScheduler} and all others that
 * {@link org.perflow.flow.Schedulers} lists (sampling), {@link org.perflow.flow.Pipeline} with
 * {@link org.perflow.flow.Request} (the front door).
 *
 * <p>Time is t in (0, 1], 1 = noise; an index is 0 ... 999; a timestep is what the network is told:
 * the index for a teacher, 1000 t (one more) for a PeRFlow student.
 *
 * <pre>{@code
 * try (Pipeline pipe = Pipeline.load(folder)) {
 *   BufferedImage apple = pipe.draw(Request.of("a red apple").withSeed(42));
 *   Images.writePng(Path.of("apple.png"), apple, Map.of());
 * }
 * }</pre>
 */
@NullMarked
package org.perflow.flow;

import org.jspecify.annotations.NullMarked;
