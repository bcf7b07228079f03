/** Which characters are letters, numbers and spaces to a tokenizer, whatever the JDK knows. */
@NullMarked
package org.perflow.models.text;

import org.jspecify.annotations.NullMarked;
