/**
 * How commands take their options from the records of the library, and how their help is laid out.
 */
@NullMarked
package org.perflow.cli.options;

import org.jspecify.annotations.NullMarked;
