/**
 * Samplers: {@link org.perflow.flow.sampler.Schedulers} makes a {@link
 * org.perflow.flow.sampler.Scheduler} of a model's {@code scheduler_config.json}, or of a name, and
 * {@link org.perflow.flow.sampler.Sampling} is the one loop that draws with it. One sampler is one
 * file; what several share is in {@link org.perflow.flow.sampler.PerflowScheduler}'s neighbours:
 * noise levels, spacing of timesteps, remembered answers.
 */
@NullMarked
package org.perflow.flow.sampler;

import org.jspecify.annotations.NullMarked;
