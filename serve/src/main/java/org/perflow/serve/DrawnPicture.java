package org.perflow.serve;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.LinkedHashMap;
import java.util.Map;
import org.jspecify.annotations.Nullable;
import org.perflow.io.picture.PictureEncoder;
import org.perflow.io.picture.PictureFormat;

/**
 * A picture of a job. It becomes a file when it is first asked for, on the thread that asks, so
 * that the worker goes on drawing. Thread-safe.
 */
public final class DrawnPicture {
  private final long seed;
  private final int width;
  private final int height;
  private final PictureFormat format;
  private final int quality;
  private final Map<String, String> settings;
  private @Nullable BufferedImage image;
  private byte @Nullable [] file;

  DrawnPicture(
      BufferedImage image,
      long seed,
      PictureFormat format,
      int quality,
      Map<String, String> settings) {
    this.image = image;
    this.width = image.getWidth();
    this.height = image.getHeight();
    this.seed = seed;
    this.format = format;
    this.quality = quality;
    this.settings = new LinkedHashMap<>(settings);
  }

  /** One that is a file already. */
  DrawnPicture(byte[] file, int width, int height, long seed, Map<String, String> settings) {
    this.file = file;
    this.width = width;
    this.height = height;
    this.seed = seed;
    this.format = PictureFormat.PNG;
    this.quality = 100;
    this.settings = new LinkedHashMap<>(settings);
  }

  /** Its seed. */
  public long seed() {
    return seed;
  }

  /** In pixels. */
  public int width() {
    return width;
  }

  /** In pixels. */
  public int height() {
    return height;
  }

  /** How it was drawn, as the text chunks of a PNG say it. */
  public Map<String, String> settings() {
    return new LinkedHashMap<>(settings);
  }

  /** The whole file; not to be changed. */
  public synchronized byte[] file() {
    if (file == null && image != null) {
      try {
        file = PictureEncoder.encode(image, format, quality, settings);
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
      image = null;
    }
    return file;
  }
}
