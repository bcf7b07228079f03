/**
 * Everything that touches the disk: weights, settings, pictures and data shards.
 *
 * <p>Read in this order: {@link org.perflow.io.AtomicFiles} (how every file is written), {@link
 * org.perflow.io.SafetensorsFile} and {@link org.perflow.io.SafetensorsWriter} (tensors by name),
 * {@link org.perflow.io.Weights} (a whole module).
 */
@NullMarked
package org.perflow.io;

import org.jspecify.annotations.NullMarked;
