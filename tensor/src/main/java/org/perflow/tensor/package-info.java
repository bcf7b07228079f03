/**
 * libtorch behind a small API: the only package of the project that knows {@code org.bytedeco}.
 *
 * <p>Read in this order: {@link org.perflow.tensor.Tensor} (values and operations), {@link
 * org.perflow.tensor.Scope} (who owns native memory), {@link org.perflow.tensor.NoGrad} (grad mode
 * of a thread), {@link org.perflow.tensor.Rng} (PyTorch-compatible random numbers), {@link
 * org.perflow.tensor.Functional} (the network operations), {@link org.perflow.tensor.Tape} (how
 * gradients go back), {@link org.perflow.tensor.Rows} (a batch shared out among threads).
 *
 * <pre>{@code
 * try (Scope scope = Scope.open(); NoGrad guard = NoGrad.enter()) {
 *   Tensor noise = Tensor.randn(Rng.seeded(42), 1, 4, 64, 64);   // as torch.manual_seed(42)
 *   Tensor kept = scope.keep(noise.mul(0.5));                     // outlives the scope
 * }
 * }</pre>
 */
@NullMarked
package org.perflow.tensor;

import org.jspecify.annotations.NullMarked;
