/**
 * Methods that match the student's distribution to the teacher's or to the data's: {@link
 * org.perflow.distill.matching.DmdMethod}, {@link org.perflow.distill.matching.Dmd2Method}, {@link
 * org.perflow.distill.matching.SwiftBrushMethod} and {@link
 * org.perflow.distill.matching.AdversarialMethod}.
 */
@NullMarked
package org.perflow.distill.matching;

import org.jspecify.annotations.NullMarked;
