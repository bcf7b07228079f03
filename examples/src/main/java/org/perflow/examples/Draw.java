package org.perflow.examples;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import org.perflow.io.Images;
import org.perflow.pipeline.Pipeline;
import org.perflow.pipeline.Request;

/** Draws a picture: {@code Draw models/emoji-64-perflow "red apple" apple.png}. */
public final class Draw {
  private Draw() {}

  /** Takes a model's folder, a caption and the PNG to write. */
  public static void main(String[] args) throws IOException {
    if (args.length != 3) {
      throw new IllegalArgumentException("want MODEL CAPTION FILE; got " + args.length + " words");
    }
    try (Pipeline pipeline = Pipeline.load(Path.of(args[0]))) {
      BufferedImage picture = pipeline.draw(Request.of(args[1]).withSeed(7));
      Images.writePng(Path.of(args[2]), picture, Map.of("prompt", args[1]));
    }
  }
}
