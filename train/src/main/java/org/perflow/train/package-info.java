/**
 * The training loop and what it reads and writes: {@link org.perflow.train.Trainer} minimises an
 * {@link org.perflow.train.Objective} with {@link org.perflow.train.TrainOptions}; {@link
 * org.perflow.train.CachedExamples} is the data; teachers come from {@link
 * org.perflow.train.VaeObjective} and {@link org.perflow.train.PretrainObjective}.
 */
@NullMarked
package org.perflow.train;

import org.jspecify.annotations.NullMarked;
