/**
 * Ways to make a few-step student of a teacher, one file each, all behind {@link
 * org.perflow.distill.Method}: what the field compares PeRFlow with, on the same teacher, data and
 * budget. {@link org.perflow.distill.Methods} lists them.
 *
 * <p>A method is given a {@link org.perflow.distill.Task} (data, teacher, student) and answers with
 * an {@link org.perflow.train.Objective} that {@link org.perflow.train.Trainer} minimises, and with
 * the scheduler config that its student is sampled by. It knows networks as {@link
 * org.perflow.distill.Net} only, so that it also runs on a small network with a teacher in closed
 * form: {@link org.perflow.distill.ring}. What two methods share exists once: a second trained
 * network is an {@link org.perflow.distill.Auxiliary}, the teacher's own pictures with their noise
 * are a {@link org.perflow.distill.PairStore}; methods that match distributions share {@code
 * FewStepStudent} (the student as its own sampler), {@code FakeScore}, {@code ScoreMatching} and
 * {@code Discriminator}; LCM, PCM and TCD are rules of one {@code ConsistencyObjective} with its
 * {@code TargetNetwork}.
 */
@NullMarked
package org.perflow.distill;

import org.jspecify.annotations.NullMarked;
