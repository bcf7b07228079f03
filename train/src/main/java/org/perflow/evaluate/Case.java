package org.perflow.evaluate;

import java.util.List;
import java.util.stream.IntStream;

/** A picture to draw: what of, and from which noise. */
public record Case(String prompt, long seed) {

  /** One case a picture: all captions from the first seed on, all again with the next seeds, ... */
  public static List<Case> of(List<String> captions, int pictures, long seed) {
    if (captions.isEmpty()) {
      throw new IllegalArgumentException("there are no captions to draw pictures of");
    }
    return IntStream.range(0, pictures)
        .mapToObj(i -> new Case(captions.get(i % captions.size()), seed + i))
        .toList();
  }
}
