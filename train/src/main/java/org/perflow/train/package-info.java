/**
 * The training loop and what it reads and writes. {@link org.perflow.train.Trainer} minimises an
 * {@link org.perflow.train.Objective} as {@link org.perflow.train.TrainOptions} says, and tells
 * {@link org.perflow.train.TrainListener}s how far it is; {@link org.perflow.train.TrainingRun} is
 * one such training in a folder of its own, beside whose checkpoints {@link
 * org.perflow.train.RunConfig} says what it was told.
 *
 * <p>Data: {@link org.perflow.train.CachedExamples} holds the latents of a teacher's VAE ({@link
 * org.perflow.train.LatentCache}) and the states of its text encoder, of captions as they are and
 * of new ones put together from their pieces ({@link org.perflow.train.MixedCaptions}).
 *
 * <p>Teachers of one's own are made by {@link org.perflow.pretrain}, students by the methods of
 * {@link org.perflow.distill}.
 */
@NullMarked
package org.perflow.train;

import org.jspecify.annotations.NullMarked;
