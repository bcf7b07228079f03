/**
 * The networks of a latent diffusion model, one architecture a file, with the configuration keys,
 * weight names and numerics of diffusers and transformers.
 *
 * <p>Read in this order: {@link org.perflow.models.DiffusionModel} (a diffusers folder in memory),
 * {@link org.perflow.models.SingleFile} (a whole model in one file), {@link
 * org.perflow.models.UNet2DConditionModel} with {@link org.perflow.models.ResnetBlock2D} and {@link
 * org.perflow.models.Transformer2DModel}, {@link org.perflow.models.AutoencoderKL}, {@link
 * org.perflow.models.CLIPTokenizer} and {@link org.perflow.models.CLIPTextModel}.
 *
 * <pre>{@code
 * try (DiffusionModel model = DiffusionModel.load(folder, DType.F32);
 *     Scope scope = Scope.open();
 *     NoGrad guard = NoGrad.enter()) {
 *   Tensor ids = Tensor.of(model.tokenizer().encode("red apple"), 1, model.tokenizer().length());
 *   Tensor text = model.textEncoder().forward(ids).lastHiddenState();
 *   Tensor noise = Tensor.randn(Rng.seeded(42), 1, 4, 16, 16);
 *   Tensor epsilon = model.unet().forward(noise, Tensor.of(new float[] {999}), text);
 * }
 * }</pre>
 */
@NullMarked
package org.perflow.models;

import org.jspecify.annotations.NullMarked;
