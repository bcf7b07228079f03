package org.perflow.models;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.PriorityQueue;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Byte-level BPE (Sennrich et al., arXiv 1508.07909): a word is its bytes, and neighbours are
 * joined in the order in which the table of merges was learnt. Immutable and thread-safe.
 */
final class BytePairs {
  static final String END_OF_WORD = "</w>";
  private static final String[] BYTE_SYMBOLS = byteSymbols();
  private static final int MAX_CACHED = 100_000;
  private static final int LONGEST_CACHED = 64; // letters

  private final Map<String, Integer> vocabulary;
  private final Map<Pair, Integer> ranks;
  private final int unknown;
  private final Map<String, int[]> cache = new ConcurrentHashMap<>();

  private record Pair(String left, String right) {}

  /** Two neighbours that may be joined, as they were when this was found. */
  private record Merge(int rank, int at, Pair pair) implements Comparable<Merge> {
    @Override
    public int compareTo(Merge other) { // the leftmost of those that were learnt first
      return rank != other.rank ? Integer.compare(rank, other.rank) : Integer.compare(at, other.at);
    }
  }

  /**
   * Of a vocabulary and its merges.
   *
   * @param merges two symbols each with a blank between them, first learnt first
   * @param unknown id of symbols that the vocabulary lacks
   */
  BytePairs(Map<String, Integer> vocabulary, List<String> merges, int unknown) {
    this.vocabulary = vocabulary;
    this.ranks = ranks(merges);
    this.unknown = unknown;
  }

  private static Map<Pair, Integer> ranks(List<String> merges) {
    Map<Pair, Integer> ranks = new HashMap<>();
    for (String merge : merges) {
      int space = merge.indexOf(' ');
      if (space < 1) {
        throw new IllegalArgumentException("merges: got '" + merge + "', expected two symbols");
      }
      ranks.putIfAbsent(
          new Pair(merge.substring(0, space), merge.substring(space + 1).strip()), ranks.size());
    }
    return ranks;
  }

  /** The tokens of a word. */
  int[] encode(String word) {
    int[] ids = cache.get(word);
    if (ids == null) {
      ids = joined(word);
      if (cache.size() < MAX_CACHED && word.length() <= LONGEST_CACHED) {
        cache.put(word, ids);
      }
    }
    return ids;
  }

  /** Symbols in a linked list and merges in a heap, so n log n however long the word. */
  private int[] joined(String word) {
    byte[] bytes = word.getBytes(UTF_8);
    String[] symbols = new String[bytes.length]; // null once joined to the one before
    int[] next = new int[bytes.length];
    int[] previous = new int[bytes.length];
    for (int i = 0; i < bytes.length; i++) {
      symbols[i] = BYTE_SYMBOLS[bytes[i] & 0xff] + (i == bytes.length - 1 ? END_OF_WORD : "");
      next[i] = i + 1;
      previous[i] = i - 1;
    }
    PriorityQueue<Merge> merges = new PriorityQueue<>();
    for (int i = 0; i + 1 < bytes.length; i++) {
      offer(merges, symbols, i, i + 1);
    }
    for (Merge merge = merges.poll(); merge != null; merge = merges.poll()) {
      int left = merge.at();
      int right = next[left];
      boolean current =
          right < bytes.length
              && merge.pair().left().equals(symbols[left])
              && merge.pair().right().equals(symbols[right]);
      if (!current) {
        continue;
      }
      symbols[left] += symbols[right];
      symbols[right] = null;
      next[left] = next[right];
      if (next[left] < bytes.length) {
        previous[next[left]] = left;
        offer(merges, symbols, left, next[left]);
      }
      if (previous[left] >= 0) {
        offer(merges, symbols, previous[left], left);
      }
    }
    return Arrays.stream(symbols)
        .filter(symbol -> symbol != null)
        .mapToInt(symbol -> vocabulary.getOrDefault(symbol, unknown))
        .toArray();
  }

  private void offer(PriorityQueue<Merge> merges, String[] symbols, int left, int right) {
    Pair pair = new Pair(symbols[left], symbols[right]);
    Integer rank = ranks.get(pair);
    if (rank != null) {
      merges.add(new Merge(rank, left, pair));
    }
  }

  /** Whether both make the same tokens of every word. */
  boolean isSame(BytePairs other) {
    return vocabulary.equals(other.vocabulary)
        && ranks.equals(other.ranks)
        && unknown == other.unknown;
  }

  /** The 512 tokens that come first in CLIP's vocabulary: bytes, and bytes that end a word. */
  static List<String> bytes() {
    List<String> tokens = new ArrayList<>(Arrays.stream(BYTE_SYMBOLS).sorted().toList());
    tokens.addAll(tokens.stream().map(symbol -> symbol + END_OF_WORD).toList());
    return tokens;
  }

  /** GPT-2's printable stand-in for each byte: itself where visible, else from U+0100 on. */
  private static String[] byteSymbols() {
    String[] symbols = new String[256];
    int next = 256;
    for (int b = 0; b < 256; b++) {
      boolean visible = (b >= '!' && b <= '~') || (b >= 0xa1 && b <= 0xac) || b >= 0xae;
      symbols[b] = String.valueOf((char) (visible ? b : next++));
    }
    return symbols;
  }
}
