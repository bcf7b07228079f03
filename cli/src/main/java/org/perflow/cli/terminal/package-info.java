/**
 * What a terminal is told, and how it is heard: text that cannot command it, how far a fetch is,
 * and a wish to stop.
 */
@NullMarked
package org.perflow.cli.terminal;

import org.jspecify.annotations.NullMarked;
