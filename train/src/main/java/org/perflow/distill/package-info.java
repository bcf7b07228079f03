/**
 * What a way to make a few-step student has to say: {@link org.perflow.distill.Method}. One is
 * given a {@link org.perflow.distill.Task} (data, teacher, student) and answers with an {@link
 * org.perflow.train.Objective} that {@link org.perflow.train.Trainer} minimises, and with the
 * scheduler config of its students. It sees networks as {@link org.perflow.distill.Net} only, so
 * that it also runs on a small network with a teacher in closed form ({@link
 * org.perflow.distill.ring}). Families of methods have a package each.
 */
@NullMarked
package org.perflow.distill;

import org.jspecify.annotations.NullMarked;
