/**
 * Building data sets from openly licensed packages. {@link org.perflow.cli.data.EmojiDataset} joins
 * drawings ({@link org.perflow.cli.data.EmojiStyle}, fetched as {@link
 * org.perflow.cli.data.NpmPackage}) with captions and writes WebDataset shards; {@link
 * org.perflow.cli.data.FashionMnist} does so with a benchmark that researchers know.
 */
@NullMarked
package org.perflow.cli.data;

import org.jspecify.annotations.NullMarked;
