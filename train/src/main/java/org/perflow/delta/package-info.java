/**
 * The difference between a student's weights and its teacher's, which accelerates other models of
 * the family: {@link org.perflow.delta.Delta} extracts, applies, scales and averages it, {@link
 * org.perflow.delta.DeltaFolder} does so for whole model folders, {@link
 * org.perflow.delta.DeltaLora} compresses it to a LoRA, {@link org.perflow.delta.Provenance} says
 * what an artefact was made from.
 */
@NullMarked
package org.perflow.delta;

import org.jspecify.annotations.NullMarked;
