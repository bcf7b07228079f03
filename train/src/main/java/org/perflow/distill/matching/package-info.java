/**
 * Methods that match the student's distribution to the teacher's or to the data's, so that a sample
 * need not be the teacher's own. All train a few-step student ({@link
 * org.perflow.distill.matching.FewStepStudent}) and beside it a network that keeps up with what the
 * student draws ({@link org.perflow.distill.matching.MatchingObjective}). In {@link
 * org.perflow.distill.matching.DmdMethod}, {@link org.perflow.distill.matching.Dmd2Method} and
 * {@link org.perflow.distill.matching.SwiftBrushMethod} that is a fake score, whose difference from
 * the teacher's score moves the student ({@link org.perflow.distill.matching.ScoreMatching}); in
 * {@link org.perflow.distill.matching.AdversarialMethod}, and in DMD2 too, a {@link
 * org.perflow.distill.matching.Discriminator}.
 */
@NullMarked
package org.perflow.distill.matching;

import org.jspecify.annotations.NullMarked;
