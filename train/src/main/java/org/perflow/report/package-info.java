/**
 * Shows what {@link org.perflow.evaluate} measured: {@link org.perflow.report.EvaluationReport}
 * makes a folder of it, {@link org.perflow.report.FigureTables} the tables, {@link
 * org.perflow.report.Charts} the plots, {@link org.perflow.report.Report} the page and {@link
 * org.perflow.report.MeasurementsJson} what programs read.
 */
@NullMarked
package org.perflow.report;

import org.jspecify.annotations.NullMarked;
