/**
 * From captions to pictures. {@link org.perflow.pipeline.Pipeline} is the front door and takes
 * {@link org.perflow.pipeline.Request}s; {@link org.perflow.pipeline.PromptEncoder} reads captions,
 * {@link org.perflow.pipeline.SeededNoise} draws noise as PyTorch does for a seed.
 */
@NullMarked
package org.perflow.pipeline;

import org.jspecify.annotations.NullMarked;
