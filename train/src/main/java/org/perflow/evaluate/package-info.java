/**
 * Measures ways of drawing pictures against another, or against pictures. Read in this order:
 * {@link org.perflow.evaluate.Evaluation} (draws the same prompts and noise with several {@link
 * org.perflow.evaluate.Candidate}s), {@link org.perflow.evaluate.Measurement} (what it finds out
 * about each), {@link org.perflow.evaluate.Bootstrap} and {@link org.perflow.evaluate.Estimate}
 * (how sure that is), then the measures: {@link org.perflow.evaluate.PairedError}, {@link
 * org.perflow.evaluate.SetFigures} on {@link org.perflow.evaluate.Features} ({@link
 * org.perflow.evaluate.Frechet}, {@link org.perflow.evaluate.KernelDistance}, {@link
 * org.perflow.evaluate.PrecisionRecall}), {@link org.perflow.evaluate.Diversity}, {@link
 * org.perflow.evaluate.TextAgreement}, {@link org.perflow.evaluate.Straightness}; {@link
 * org.perflow.evaluate.PictureFolder} reads pictures from elsewhere; last {@link
 * org.perflow.evaluate.FigureTables} and {@link org.perflow.evaluate.Report}, which show it all.
 */
@NullMarked
package org.perflow.evaluate;

import org.jspecify.annotations.NullMarked;
