/**
 * Distillation in two dimensions, where a picture shows what a method does and some seconds of one
 * core are enough to learn. {@link org.perflow.distill.ring.Ring} is data and teacher in closed
 * form, {@link org.perflow.distill.ring.RingNet} and {@link org.perflow.distill.ring.RingGenerator}
 * are networks to train, {@link org.perflow.distill.ring.RingRecipe} has settings with which each
 * method learns, {@link org.perflow.distill.ring.RingRun} trains, draws and measures, {@link
 * org.perflow.distill.ring.Trajectories} and {@link org.perflow.distill.ring.TrajectoryFigure} show
 * the paths. {@code perflow trajectories} draws all methods; their tests learn the same ring.
 *
 * <pre>{@code
 * Trajectories teacher = Trajectories.ofTeacher(50);
 * List<Trajectories> student = Trajectories.train(RingRecipe.of("perflow"), folder);
 * BufferedImage picture = new TrajectoryFigure(teacher, student).png(1);
 * }</pre>
 */
@NullMarked
package org.perflow.distill.ring;

import org.jspecify.annotations.NullMarked;
