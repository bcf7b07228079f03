/**
 * Measures ways of drawing pictures against another, or against pictures. Read in this order:
 * {@code org.perflow.evaluate.Evaluator}, the front door from folders to measurements; {@link
 * org.perflow.evaluate.Evaluation} (draws the same prompts and noise with several {@link
 * org.perflow.evaluate.Candidate}s, of which {@link org.perflow.evaluate.SampledModel} is a
 * model's); {@link org.perflow.evaluate.Measurement} (what it finds out about each), {@link
 * org.perflow.evaluate.Bootstrap} and {@link org.perflow.evaluate.Estimate} (how sure that is);
 * then the measures: {@link org.perflow.evaluate.PairedError}, {@link
 * org.perflow.evaluate.SetFigures} on {@link org.perflow.evaluate.Features} ({@link
 * org.perflow.evaluate.Frechet}, {@link org.perflow.evaluate.KernelDistance}, {@link
 * org.perflow.evaluate.PrecisionRecall}), {@link org.perflow.evaluate.Diversity}, {@link
 * org.perflow.evaluate.TextAgreement}, {@link org.perflow.evaluate.Straightness}; last {@link
 * org.perflow.evaluate.PictureFolder}, which reads pictures from elsewhere. {@code
 * org.perflow.report} shows it all.
 */
@NullMarked
package org.perflow.evaluate;

import org.jspecify.annotations.NullMarked;
