/**
 * PeRFlow (arXiv 2405.07510): {@link org.perflow.distill.perflow.PerflowObjective} is algorithm 1,
 * {@link org.perflow.distill.perflow.PerflowOptions} its settings, {@link
 * org.perflow.distill.perflow.PerflowMethod} makes a method of it.
 */
@NullMarked
package org.perflow.distill.perflow;

import org.jspecify.annotations.NullMarked;
