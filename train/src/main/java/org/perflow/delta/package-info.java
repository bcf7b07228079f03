/**
 * What acceleration changed, student minus teacher, which accelerates other models of the family.
 *
 * <p>{@link org.perflow.delta.Delta} takes, adds, scales and averages weights; {@link
 * org.perflow.delta.DeltaFolder} adds to a whole model folder and finds out how the result is
 * sampled; {@link org.perflow.delta.DeltaLora} makes a LoRA of a delta; {@link
 * org.perflow.delta.Provenance} says what an artefact was made from, {@link
 * org.perflow.delta.Inspection} what a folder or a weights file is.
 */
@NullMarked
package org.perflow.delta;

import org.jspecify.annotations.NullMarked;
