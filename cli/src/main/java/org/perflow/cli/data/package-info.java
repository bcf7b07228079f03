/**
 * Building data sets from openly licensed packages. {@link org.perflow.cli.data.EmojiDataset} joins
 * drawings ({@link org.perflow.cli.data.EmojiStyle}, fetched as {@link
 * org.perflow.cli.data.NpmPackage}) with captions and writes WebDataset shards.
 */
@NullMarked
package org.perflow.cli.data;

import org.jspecify.annotations.NullMarked;
