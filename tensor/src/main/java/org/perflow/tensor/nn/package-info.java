/**
 * Layers. A {@link org.perflow.tensor.nn.Module} declares its {@link
 * org.perflow.tensor.nn.Parameter}s and children under the names of the published state dict, so
 * that a safetensors key leads to a line of code; memory is taken only when weights arrive ({@code
 * org.perflow.io.Weights}) or are drawn ({@link org.perflow.tensor.nn.Module#initialise}).
 */
@NullMarked
package org.perflow.tensor.nn;

import org.jspecify.annotations.NullMarked;
