/** All methods: {@link org.perflow.accelerate.Methods}. */
@NullMarked
package org.perflow.accelerate;

import org.jspecify.annotations.NullMarked;
