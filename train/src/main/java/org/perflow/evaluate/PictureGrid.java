package org.perflow.evaluate;

import java.awt.image.BufferedImage;
import java.util.List;

/** The first pictures of each candidate: a line a candidate, a column a prompt. */
public record PictureGrid(List<String> prompts, List<Line> lines) {

  /** Pictures of one candidate, one a prompt. */
  public record Line(String title, List<BufferedImage> pictures) {
    public Line {
      pictures = List.copyOf(pictures);
    }
  }

  public PictureGrid {
    prompts = List.copyOf(prompts);
    lines = List.copyOf(lines);
    for (Line line : lines) {
      if (line.pictures().size() != prompts.size()) {
        throw new IllegalArgumentException(
            "line \""
                + line.title()
                + "\" has "
                + line.pictures().size()
                + " pictures for "
                + prompts.size()
                + " prompts");
      }
    }
  }

  /** No pictures. */
  public static PictureGrid none() {
    return new PictureGrid(List.of(), List.of());
  }
}
