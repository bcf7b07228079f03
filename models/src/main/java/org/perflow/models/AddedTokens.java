package org.perflow.models;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.Consumer;
import java.util.regex.Pattern;
import org.jspecify.annotations.Nullable;
import org.perflow.models.text.UnicodeTables;

/**
 * Tokens that a text is searched for before it is cut into words: the special ones, and those that
 * textual inversions added. Where they are written, in which order they get their ids and how they
 * are matched is as in transformers and its tokenizers library. Immutable and thread-safe.
 */
final class AddedTokens {
  private static final List<String> NAMED = // in the order in which the reference adds them
      List.of(
          "bos_token",
          "eos_token",
          "unk_token",
          "sep_token",
          "pad_token",
          "cls_token",
          "mask_token");

  /**
   * Lists of more; what {@code special_tokens_map.json} has under the second is no reason to take
   * it as spelt.
   */
  private static final List<String> EXTRA =
      List.of("extra_special_tokens", "additional_special_tokens");

  private static final int MOST_WRITTEN_OUT = 10_000_000; // characters: names may hold names
  private static final Pattern WORD = Pattern.compile("\\w", Pattern.UNICODE_CHARACTER_CLASS);

  private final Map<String, Token> tokens = new LinkedHashMap<>();
  private final Node exact = new Node();
  private final Node normalised = new Node();

  /**
   * A token by itself.
   *
   * @param singleWord only where no letter, digit or underscore touches it
   * @param lstrip blanks before it belong to it
   * @param rstrip blanks behind it belong to it
   * @param normalised whether it is searched for after capitals have become small
   */
  record Token(
      String content,
      int id,
      boolean singleWord,
      boolean lstrip,
      boolean rstrip,
      boolean normalised) {
    Token withId(int other) {
      return new Token(content, other, singleWord, lstrip, rstrip, normalised);
    }
  }

  /** What a tree of tokens holds behind one more character. */
  private static final class Node {
    private final Map<Character, Node> next = new HashMap<>();
    private @Nullable Token token;
  }

  private AddedTokens() {}

  // ---------------------------------------------------------------- where they are written

  /**
   * Those that a tokenizer's files list.
   *
   * @param config {@code tokenizer_config.json} with {@code special_tokens_map.json} in it
   * @param beside {@code added_tokens.json}: ids by content; empty where there is none
   * @param listed {@code added_tokens} of {@code tokenizer.json}; missing where there is none
   * @throws IllegalArgumentException where one has another id than there is place for
   */
  static AddedTokens read(
      JsonNode config, JsonNode beside, JsonNode listed, Map<String, Integer> vocabulary) {
    TreeMap<Integer, Token> written = new TreeMap<>();
    Map<String, Token> special = special(config, EXTRA);
    if (config.has("added_tokens_decoder")) {
      for (var entry : config.get("added_tokens_decoder").properties()) {
        int id = id(entry.getKey(), entry.getKey());
        written.put(id, token(entry.getValue(), id));
      }
    } else {
      Set<String> asSpelt = special(config, EXTRA.subList(0, 1)).keySet();
      for (var entry : beside.properties()) {
        int id = id(entry.getKey(), entry.getValue().asText());
        boolean plain = !asSpelt.contains(entry.getKey());
        written.put(id, new Token(entry.getKey(), id, false, false, false, plain));
      }
      for (JsonNode entry : listed) {
        int id = id(entry.path("content").asText(), entry.path("id").asText());
        written.put(id, token(entry, id));
      }
    }
    AddedTokens added = new AddedTokens();
    written.values().forEach(token -> added.add(token, vocabulary));
    special.values().forEach(token -> added.add(token, vocabulary));
    return added;
  }

  /** Those with a name, then others, without ids yet. */
  private static Map<String, Token> special(JsonNode config, List<String> extra) {
    Map<String, Token> special = new LinkedHashMap<>();
    for (String name : NAMED) {
      if (config.hasNonNull(name)) {
        put(special, config.get(name));
      }
    }
    for (var entry : config.properties()) { // names of a model's own
      boolean own = entry.getKey().endsWith("_token") && !NAMED.contains(entry.getKey());
      if (own && entry.getValue().isTextual()) {
        put(special, entry.getValue());
      }
    }
    for (String name : extra) {
      config.path(name).forEach(value -> put(special, value)); // of a list or of an object
    }
    return special;
  }

  private static void put(Map<String, Token> special, JsonNode value) {
    Token token = token(value, -1);
    special.putIfAbsent(token.content(), token);
  }

  /** A name alone, which is a special token's, or an object with {@code content}. */
  private static Token token(JsonNode value, int id) {
    JsonNode content = value.isObject() ? value.path("content") : value;
    if (!content.isTextual()) {
      throw new IllegalArgumentException("got the token " + value + ", expected its text");
    }
    boolean special = !value.isObject() || value.path("special").asBoolean(id < 0);
    return new Token(
        content.asText(),
        id,
        value.path("single_word").asBoolean(),
        value.path("lstrip").asBoolean(),
        value.path("rstrip").asBoolean(),
        value.path("normalized").asBoolean(!special));
  }

  private static int id(String token, String text) {
    if (!text.matches("\\d{1,9}")) {
      throw new IllegalArgumentException(
          "added token '" + token + "' has id " + text + ", expected a whole number");
    }
    return Integer.parseInt(text);
  }

  /** Of the vocabulary it keeps the id there; others come behind it, one after the other. */
  private void add(Token token, Map<String, Integer> vocabulary) {
    if (token.content().isEmpty()) {
      throw new IllegalArgumentException("got an added token without text");
    }
    if (tokens.containsKey(token.content())) {
      return;
    }
    int id = vocabulary.getOrDefault(token.content(), nextId(vocabulary));
    if (token.id() >= 0 && token.id() != id) {
      throw new IllegalArgumentException(
          "added token '%s' has id %d, but %d is %s: the list of added tokens has a gap, or is another vocabulary's"
              .formatted(
                  token.content(),
                  token.id(),
                  id,
                  vocabulary.containsKey(token.content()) ? "its own" : "the next"));
    }
    put(token.withId(id));
  }

  private int nextId(Map<String, Integer> vocabulary) {
    return Math.max(vocabulary.size(), end());
  }

  private void put(Token token) {
    tokens.put(token.content(), token);
    String content =
        token.normalised() ? UnicodeTables.normalise(token.content()) : token.content();
    Node node = token.normalised() ? normalised : exact;
    for (char c : content.toCharArray()) {
      node = node.next.computeIfAbsent(c, unused -> new Node());
    }
    node.token = token;
  }

  /** The same and {@code contents} behind them, as ordinary tokens: searched for normalised. */
  AddedTokens with(List<String> contents, Map<String, Integer> vocabulary) {
    AddedTokens more = new AddedTokens();
    tokens.values().forEach(more::put);
    contents.forEach(
        content -> more.add(new Token(content, -1, false, false, false, true), vocabulary));
    return more;
  }

  // ---------------------------------------------------------------- what there is

  /** The token of that text, or null. */
  @Nullable Token get(String content) {
    return tokens.get(content);
  }

  /** Tokens that have ids behind those of a vocabulary of that size, by text. */
  ObjectNode behind(int vocabularySize, ObjectNode into) {
    tokens.values().stream()
        .filter(token -> token.id() >= vocabularySize)
        .forEach(token -> into.put(token.content(), token.id()));
    return into;
  }

  /** One more than the largest id. */
  int end() {
    return tokens.values().stream().mapToInt(token -> token.id() + 1).max().orElse(0);
  }

  boolean isSame(AddedTokens other) {
    return tokens.equals(other.tokens);
  }

  /**
   * {@code text} with placeholders of several vectors written out, as diffusers' pipelines do:
   * where there are tokens {@code <a>} and {@code <a>_1}, the text {@code <a>} stands for both.
   */
  String writtenOut(String text) {
    Set<Token> found = new LinkedHashSet<>();
    split(text, found::add, rest -> {});
    String written = text;
    for (Token token : found) {
      StringBuilder all = new StringBuilder(token.content());
      for (int i = 1; tokens.containsKey(token.content() + "_" + i); i++) {
        all.append(' ').append(token.content()).append('_').append(i);
      }
      long more =
          (long) times(token.content(), written) * (all.length() - token.content().length());
      if (more > MOST_WRITTEN_OUT) {
        throw new IllegalArgumentException(
            "all vectors of '%s' would make this prompt %,d characters longer; %,d are the most"
                .formatted(token.content(), more, MOST_WRITTEN_OUT));
      }
      written = written.replace(token.content(), all);
    }
    return written;
  }

  private static int times(String word, String text) {
    int times = 0;
    for (int at = text.indexOf(word); at >= 0; at = text.indexOf(word, at + word.length())) {
      times++;
    }
    return times;
  }

  // ---------------------------------------------------------------- searching

  /**
   * Cuts {@code text}: first out those tokens that are spelt exactly so, then, of what is left and
   * normalised, the others.
   *
   * @param found takes the tokens, in turn with
   * @param rest takes what lies between them, normalised
   */
  void split(String text, Consumer<Token> found, Consumer<String> rest) {
    split(
        exact, text, found, part -> split(normalised, UnicodeTables.normalise(part), found, rest));
  }

  private static void split(Node tree, String text, Consumer<Token> found, Consumer<String> rest) {
    int done = 0;
    int at = 0;
    while (at < text.length()) {
      Match match = longest(tree, text, at);
      if (match == null) {
        at++;
        continue;
      }
      Token token = match.token();
      int start = at;
      int end = match.end();
      at = end;
      if (token.singleWord() && (isWord(before(text, start)) || isWord(behind(text, end)))) {
        continue;
      }
      while (token.lstrip() && start > done && UnicodeTables.isSpace(before(text, start))) {
        start -= Character.charCount(before(text, start));
      }
      while (token.rstrip() && UnicodeTables.isSpace(behind(text, end))) {
        end += Character.charCount(behind(text, end));
      }
      if (start > done) {
        rest.accept(text.substring(done, start));
      }
      found.accept(token);
      done = end;
      at = Math.max(at, end);
    }
    if (done < text.length()) {
      rest.accept(text.substring(done));
    }
  }

  private record Match(Token token, int end) {}

  /** The longest token that begins at {@code at}. */
  private static @Nullable Match longest(Node tree, String text, int at) {
    Match longest = null;
    Node node = tree.next.get(text.charAt(at));
    for (int end = at + 1; node != null; end++) {
      if (node.token != null) {
        longest = new Match(node.token, end);
      }
      node = end < text.length() ? node.next.get(text.charAt(end)) : null;
    }
    return longest;
  }

  private static int before(String text, int at) {
    return at == 0 ? -1 : text.codePointBefore(at);
  }

  private static int behind(String text, int at) {
    return at >= text.length() ? -1 : text.codePointAt(at);
  }

  /** A regular expression's \w, of Unicode. */
  private static boolean isWord(int c) {
    return c >= 0 && WORD.matcher(Character.toString(c)).matches();
  }
}
