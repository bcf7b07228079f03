/**
 * Picture files to pixels, as Pillow and its callers in Python see them: upright, the whole canvas,
 * in sRGB.
 *
 * <p>{@link org.perflow.io.picture.PictureDecoder} is the way in. What a file says about itself is
 * read here, before any pixel takes memory, one class a format ({@link
 * org.perflow.io.picture.PngFile} and its like), into an {@link
 * org.perflow.io.picture.EncodedPicture}; the pixels themselves are decoded by libraries. {@link
 * org.perflow.io.picture.Orientation} and {@link org.perflow.io.picture.Colours} do to every format
 * what only some of those libraries do. Errors say what is wrong, and leave the name of the file to
 * the caller.
 */
@NullMarked
package org.perflow.io.picture;

import org.jspecify.annotations.NullMarked;
