/**
 * Training.
 *
 * <p>Read in this order: {@link org.perflow.train.PerflowObjective} (the algorithm) with {@link
 * org.perflow.train.PerflowOptions}, {@link org.perflow.train.Trainer} (the loop) with {@link
 * org.perflow.train.TrainOptions} and {@link org.perflow.train.TrainingCurve}, {@link
 * org.perflow.train.CachedExamples} (the data), {@link org.perflow.train.StudentWriter} and {@link
 * org.perflow.train.Delta} (what comes out). Teachers come from {@link
 * org.perflow.train.VaeObjective} and {@link org.perflow.train.PretrainObjective}.
 */
@NullMarked
package org.perflow.train;

import org.jspecify.annotations.NullMarked;
