/**
 * Measures one way of drawing pictures against another. Read in this order: {@link
 * org.perflow.evaluate.Evaluation} (draws the same prompts and noise with several systems), {@link
 * org.perflow.evaluate.Measurement} (what it finds out about each), then the measures: {@link
 * org.perflow.evaluate.PairedError}, {@link org.perflow.evaluate.Frechet} on the features of a
 * {@link org.perflow.evaluate.FeatureNetwork}, {@link org.perflow.evaluate.Straightness}; last
 * {@link org.perflow.evaluate.Report}, the page that shows them.
 */
@NullMarked
package org.perflow.evaluate;

import org.jspecify.annotations.NullMarked;
