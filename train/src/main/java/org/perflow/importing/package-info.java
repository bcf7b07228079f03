/**
 * A user's own pictures become training data. {@link org.perflow.importing.DataImport} is the way
 * in: sources ({@link org.perflow.importing.Source}, one class a kind) list their pictures and
 * captions, {@link org.perflow.importing.ImportPlan} says which goes into which shard, {@link
 * org.perflow.importing.Preparation} makes one picture ready ({@link
 * org.perflow.importing.Framing}: how it is scaled and cut), and {@link
 * org.perflow.importing.ImportReport} shows what came of it.
 */
@NullMarked
package org.perflow.importing;

import org.jspecify.annotations.NullMarked;
