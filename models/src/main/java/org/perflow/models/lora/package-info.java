/**
 * Low-rank changes of a model's weights (Hu et al., arXiv 2106.09685): W + α/r · up · down.
 *
 * <p>Read in this order: {@link org.perflow.models.lora.LoraLayer} (one change), {@link
 * org.perflow.models.lora.LoraFile} with {@link org.perflow.models.lora.LoraNames} (files of kohya
 * and of diffusers), {@link org.perflow.models.lora.AppliedLoras} (in a model, until closed),
 * {@link org.perflow.models.lora.LoraAdapters} (to be trained).
 *
 * <pre>{@code
 * try (DiffusionModel model = DiffusionModel.load(folder, DType.F32);
 *     LoraFile style = LoraFile.read(Path.of("style.safetensors"));
 *     AppliedLoras applied =
 *         AppliedLoras.fuse(AppliedLoras.parts(model), List.of(new Weighted(style, 0.8)))) {
 *   new Pipeline(model).draw(request);
 * } // the model's own weights again
 * }</pre>
 */
@NullMarked
package org.perflow.models.lora;

import org.jspecify.annotations.NullMarked;
