package org.perflow.importing;

import java.awt.Color;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.util.Optional;
import org.perflow.importing.Buckets.Size;
import org.perflow.importing.ImportOptions.Crop;

/**
 * How a picture gets the size it shall have: scaled, then cut, or laid on a ground that is larger.
 *
 * @param scaled size after scaling
 * @param left column of the scaled picture where the new one begins; below 0 in the ground
 * @param top row, likewise
 * @param target size of the new picture
 */
record Framing(Size scaled, int left, int top, Size target) {
  /**
   * The framing that keeps as much as can be; empty where the picture would have to be enlarged and
   * may not be.
   *
   * @param where in 0..1 a random cut is made
   */
  static Optional<Framing> of(Size picture, Size target, Crop crop, boolean enlarge, double where) {
    double across = (double) target.width() / picture.width();
    double down = (double) target.height() / picture.height();
    boolean pad = crop == Crop.PAD;
    double scale = pad ? Math.min(across, down) : Math.max(across, down);
    if (scale > 1 && !enlarge) {
      if (!pad) {
        return Optional.empty();
      }
      scale = 1;
    }
    int width = side(picture.width(), scale, target.width(), pad);
    int height = side(picture.height(), scale, target.height(), pad);
    int tooWide = width - target.width();
    int tooHigh = height - target.height();
    return Optional.of(
        switch (crop) {
          case CENTER, PAD ->
              new Framing(new Size(width, height), tooWide / 2, tooHigh / 2, target);
          case TOP -> new Framing(new Size(width, height), tooWide / 2, 0, target);
          case RANDOM ->
              new Framing(
                  new Size(width, height),
                  (int) (where * (tooWide + 1)),
                  (int) (where * (tooHigh + 1)),
                  target);
        });
  }

  /** Rounded, and never a pixel on the wrong side of the target. */
  private static int side(int length, double scale, int target, boolean within) {
    int scaled = Math.max(1, (int) Math.round(length * scale));
    return within ? Math.min(scaled, target) : Math.max(scaled, target);
  }

  /** Whether parts of the picture are missing. */
  boolean cuts() {
    return scaled.width() > target.width() || scaled.height() > target.height();
  }

  /** The new picture of one that was scaled already. */
  BufferedImage cut(BufferedImage picture, Color ground) {
    if (scaled.equals(target)) {
      return picture;
    }
    var cut = new BufferedImage(target.width(), target.height(), BufferedImage.TYPE_INT_RGB);
    Graphics2D graphics = cut.createGraphics();
    graphics.setColor(ground);
    graphics.fillRect(0, 0, target.width(), target.height());
    graphics.drawImage(picture, -left, -top, null);
    graphics.dispose();
    return cut;
  }
}
