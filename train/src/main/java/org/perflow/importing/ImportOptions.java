package org.perflow.importing;

import io.soabase.recordbuilder.core.RecordBuilder;
import java.awt.Color;
import org.jspecify.annotations.Nullable;
import org.perflow.io.Overrides;

/**
 * Settings of a {@link DataImport}. Immutable, valid once made; JSON by these names ({@link
 * Overrides}).
 *
 * @param size width and height of every picture; not looked at where there are buckets
 * @param buckets side of the square whose area the buckets have ({@link Buckets}); 0 = all pictures
 *     have one size
 * @param bucketStep what widths and heights of buckets are multiples of
 * @param crop what becomes of a picture of another shape
 * @param enlarge whether small pictures are enlarged; else they are left out, and told
 * @param background what shows where a picture is transparent, and beside one that is padded:
 *     {@code #rrggbb}
 * @param captions where captions come from
 * @param caption one for all pictures; null for their own
 * @param captionKey column, key or ending of the captions in tables and shards; null for the usual
 *     names
 * @param pictureKey the same of the pictures
 * @param heldOut part of the pictures, 0 to below 1, that is kept from training; those of one
 *     caption stay together
 * @param format of the pictures in the shards
 * @param strict whether the first picture that would be left out ends the import
 * @param shardSize pictures of one shard
 */
@RecordBuilder
public record ImportOptions(
    int size,
    int buckets,
    int bucketStep,
    Crop crop,
    boolean enlarge,
    String background,
    Captions captions,
    @Nullable String caption,
    @Nullable String captionKey,
    @Nullable String pictureKey,
    double heldOut,
    Format format,
    boolean strict,
    int shardSize)
    implements ImportOptionsBuilder.With {

  /** What becomes of a picture that has another shape than it shall have. */
  public enum Crop {
    /** Both sides are cut alike. */
    CENTER,
    /** Nothing is cut above: people stand there. */
    TOP,
    /** Cut anywhere, in each import at the same place. */
    RANDOM,
    /** Nothing is cut: the background fills what is missing. */
    PAD
  }

  /** Where captions come from. */
  public enum Captions {
    /** Files beside the pictures, metadata files of the folder, columns, keys. */
    BESIDE,
    /** The file's name, with spaces where it has underscores. */
    FILENAME
  }

  /** File format of the pictures in the shards. */
  public enum Format {
    /** Without loss. */
    PNG,
    /** Far smaller; of quality 95. */
    JPEG
  }

  /** 512 × 512, the middle, a twentieth held out. */
  public static final ImportOptions DEFAULTS =
      ImportOptionsBuilder.builder()
          .size(512)
          .buckets(0)
          .bucketStep(64)
          .crop(Crop.CENTER)
          .enlarge(false)
          .background("#ffffff")
          .captions(Captions.BESIDE)
          .heldOut(0.05)
          .format(Format.PNG)
          .strict(false)
          .shardSize(1000)
          .build();

  private static final int MOST_PIXELS = 8192; // of a side

  public ImportOptions {
    require(
        size >= 8 && size <= MOST_PIXELS && size % 8 == 0,
        "size must be a multiple of 8 from 8 to %d; got %d".formatted(MOST_PIXELS, size));
    if (buckets != 0) {
      Buckets.require(buckets, bucketStep);
    }
    require(
        background.matches("#[0-9a-fA-F]{6}"),
        "background must be a colour such as #ffffff; got " + background);
    require(caption == null || !caption.isBlank(), "caption must say something; got nothing");
    require(
        caption == null || captions == Captions.BESIDE,
        "one caption for all and captions from file names exclude each other");
    require(
        heldOut >= 0 && heldOut < 1,
        "heldOut must be a part of the pictures, 0 to below 1; got " + heldOut);
    require(shardSize >= 1, "shardSize must be 1 or more; got " + shardSize);
  }

  private static void require(boolean holds, String otherwise) {
    if (!holds) {
      throw new IllegalArgumentException(otherwise);
    }
  }

  /** Whether pictures have captions of their own to be looked for. */
  boolean ownCaptions() {
    return caption == null && captions == Captions.BESIDE;
  }

  Color ground() {
    return Color.decode(background);
  }
}
