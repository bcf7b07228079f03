/**
 * From captions to pictures. {@link org.perflow.pipeline.Pipeline} is the front door and takes
 * {@link org.perflow.pipeline.Request}s; {@link org.perflow.pipeline.PromptEncoder} reads captions,
 * {@link org.perflow.pipeline.SeededNoise} draws noise as PyTorch does for a seed, {@link
 * org.perflow.flow.sampler.Sampling} takes it to latents, {@link org.perflow.pipeline.VaeCodec}
 * these to pictures.
 */
@NullMarked
package org.perflow.pipeline;

import org.jspecify.annotations.NullMarked;
