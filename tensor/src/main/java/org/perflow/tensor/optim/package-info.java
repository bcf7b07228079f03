/**
 * Optimisation over one flat block of float32 master weights: {@link
 * org.perflow.tensor.optim.FlatParameters} lays the weights of a model out as views into one
 * buffer, so that a step of {@link org.perflow.tensor.optim.AdamW} or an {@link
 * org.perflow.tensor.optim.Ema} update is a handful of native calls whatever the number of weights.
 */
@NullMarked
package org.perflow.tensor.optim;

import org.jspecify.annotations.NullMarked;
