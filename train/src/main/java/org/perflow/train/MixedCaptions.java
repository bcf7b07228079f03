package org.perflow.train;

import java.util.ArrayList;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Captions that nobody wrote: one that somebody did, changed by another that mostly shares a word
 * with it. Of "emoji of red heart, heart, love, red" and "emoji of green letter, green, love, mail"
 * come "emoji of green heart, green, heart, love" (a word exchanged wherever it stands) and "emoji
 * of mail, heart, love, red" (named after a piece of the other's), with some of the other's tags
 * and without some of its own; here and there stands a word of the tokenizer's, many of which the
 * data never uses. A student that sees its data's captions only is near its teacher on these, and
 * strays on others; simulated window starts need no pictures, so it may be asked for anything. Not
 * in the paper.
 */
public final class MixedCaptions {
  private static final double RELATED = 0.75; // of the partners; others are any caption
  private static final double RENAMED = 0.25; // of the captions; in others a word is exchanged
  private static final double SWAPPED = 0.25; // of the tags
  private static final double DROPPED = 0.25; // of the tags
  private static final double OTHER_WORDS = 0.125; // of what comes into a caption

  private final List<String> captions;
  private final List<String> words;
  private final Map<String, List<String>> byWord = new HashMap<>();
  private final Set<String> everywhere; // "emoji", "of": not what a caption is about

  /**
   * @param words that may come in; none = those of captions only
   */
  public MixedCaptions(List<String> captions, List<String> words) {
    this.captions = List.copyOf(captions);
    this.words = List.copyOf(words);
    for (String caption : this.captions) {
      for (String word : Set.copyOf(wordsOf(caption))) {
        byWord.computeIfAbsent(word, key -> new ArrayList<>()).add(caption);
      }
    }
    everywhere =
        byWord.keySet().stream()
            .filter(word -> byWord.get(word).size() > captions.size() / 2)
            .collect(Collectors.toSet());
    int many = Math.max(2, captions.size() / 10); // says too little of what a caption is about
    byWord.values().removeIf(sharing -> sharing.size() < 2 || sharing.size() > many);
  }

  /** That many captions. */
  public List<String> draw(int count, Rng rng) {
    return Stream.generate(() -> compose(rng)).limit(count).toList();
  }

  /** Of two captions, in any wording. */
  String compose(Rng rng) {
    String frame = any(captions, rng);
    String partner = partner(frame, rng);
    List<String> mine = pieces(frame);
    List<String> theirs = pieces(partner);
    if (mine.size() > 1 && happens(RENAMED, rng)) {
      mine.set(0, renamed(mine.get(0), any(theirs, rng), rng));
    } else {
      mine = exchanged(frame, partner, rng);
    }
    List<String> tags = tags(mine);
    if (theirs.size() > 1) {
      tags.replaceAll(tag -> happens(SWAPPED, rng) ? orOther(any(tags(theirs), rng), rng) : tag);
    }
    tags.removeIf(tag -> happens(DROPPED, rng));
    if (isSorted(tags(pieces(frame)))) {
      tags.sort(null);
    }
    return any(Captions.variants(String.join(", ", new LinkedHashSet<>(mine))), rng);
  }

  private String partner(String frame, Rng rng) {
    List<List<String>> sharing =
        wordsOf(frame).stream().filter(byWord::containsKey).map(byWord::get).toList();
    boolean related = !sharing.isEmpty() && happens(RELATED, rng);
    return any(related ? any(sharing, rng) : captions, rng);
  }

  /**
   * The pieces of {@code frame} with a word of the partner's for one of its own, or for several.
   */
  private List<String> exchanged(String frame, String partner, Rng rng) {
    List<String> own = wordsOnlyOf(frame, partner);
    List<String> others = wordsOnlyOf(partner, frame);
    List<String> pieces = pieces(frame);
    do {
      if (own.isEmpty() || others.isEmpty()) {
        return pieces;
      }
      String mine = own.remove(below(own.size(), rng));
      String other = orOther(others.remove(below(others.size(), rng)), rng);
      pieces.replaceAll(
          piece ->
              joined(Stream.of(piece.split("\\s+")).map(word -> word.equals(mine) ? other : word)));
    } while (happens(0.5, rng));
    return pieces;
  }

  private List<String> wordsOnlyOf(String caption, String partner) {
    Set<String> words = new LinkedHashSet<>(wordsOf(caption));
    words.removeAll(wordsOf(partner));
    words.removeAll(everywhere);
    return new ArrayList<>(words);
  }

  /** What every caption begins with, and what {@code piece} is about. */
  private String renamed(String label, String piece, Rng rng) {
    String beginning = joined(wordsOf(label).stream().takeWhile(everywhere::contains));
    String about = joined(wordsOf(piece).stream().dropWhile(everywhere::contains));
    return joined(Stream.of(beginning, orOther(about, rng)).filter(part -> !part.isEmpty()));
  }

  private static String joined(Stream<String> words) {
    return words.collect(Collectors.joining(" "));
  }

  private String orOther(String text, Rng rng) {
    return !words.isEmpty() && happens(OTHER_WORDS, rng) ? any(words, rng) : text;
  }

  /** What stands between commas. */
  private static List<String> pieces(String caption) {
    return new ArrayList<>(List.of(caption.strip().split(",\\s*")));
  }

  private static List<String> tags(List<String> pieces) {
    return pieces.subList(1, pieces.size());
  }

  private static List<String> wordsOf(String text) {
    return List.of(text.strip().split("[,\\s]+"));
  }

  private static boolean isSorted(List<String> list) {
    return list.stream().sorted().toList().equals(list);
  }

  private static <T> T any(List<T> list, Rng rng) {
    return list.get(below(list.size(), rng));
  }

  private static boolean happens(double probability, Rng rng) {
    try (Scope scope = Scope.open()) {
      return Tensor.rand(rng, 1).item() < probability;
    }
  }

  private static int below(int bound, Rng rng) {
    try (Scope scope = Scope.open()) {
      return (int) Tensor.randint(rng, bound, 1).toLongArray()[0];
    }
  }
}
