/**
 * The {@code perflow} command. {@link org.perflow.cli.Main} is the way in; every other class is one
 * verb: its options, then a {@code run} that calls the library and reports. Exit codes: 0 done, 1
 * failed while running, 2 wrong usage or input.
 */
@NullMarked
package org.perflow.cli;

import org.jspecify.annotations.NullMarked;
