/**
 * Everything that touches the disk: weights, settings, pictures and data shards.
 *
 * <p>Read in this order: {@link org.perflow.io.AtomicFiles} (how every file is written), {@link
 * org.perflow.io.NamedTensors} (tensors that are read when needed) with {@link
 * org.perflow.io.WeightFiles} (the file in a model folder, whatever its format), {@link
 * org.perflow.io.SafetensorsFile} and {@link org.perflow.io.SafetensorsWriter}, {@link
 * org.perflow.io.Weights} (a whole module), {@link org.perflow.io.WeightsKind} (what a file is),
 * {@link org.perflow.io.Json} (settings), {@link org.perflow.io.Images} (pictures and tensors),
 * {@link org.perflow.io.ShardWriter} and {@link org.perflow.io.ShardReader} (captioned pictures in
 * WebDataset tars). A file whose content is wrong raises {@link org.perflow.io.FormatException},
 * whose message names it.
 *
 * <pre>{@code
 * Weights.load(unet, folder.resolve("diffusion_pytorch_model.safetensors"), DType.F32);
 * try (ShardReader shard = new ShardReader(tar)) {
 *   Sample sample = shard.next().orElseThrow();
 *   BufferedImage image = Images.decode(sample.picture(), sample.key());
 * }
 * }</pre>
 */
@NullMarked
package org.perflow.io;

import org.jspecify.annotations.NullMarked;
