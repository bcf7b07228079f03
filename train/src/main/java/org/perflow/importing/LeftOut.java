package org.perflow.importing;

/**
 * A picture that was left out.
 *
 * @param name where it is
 * @param why in one word
 * @param reason in a sentence
 */
public record LeftOut(String name, Why why, String reason) {
  /** Kinds of reasons. */
  public enum Why {
    /** No picture that can be read, or not at the place that is named. */
    UNREADABLE("unreadable"),
    /** Nothing says what it shows. */
    NO_CAPTION("without a caption"),
    /** It would have to be enlarged. */
    TOO_SMALL("too small");

    private final String words;

    Why(String words) {
      this.words = words;
    }

    @Override
    public String toString() {
      return words;
    }
  }

  @Override
  public String toString() {
    return name + ": " + reason;
  }
}
