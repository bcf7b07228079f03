package org.perflow.models;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.TreeMap;
import java.util.regex.Pattern;
import java.util.stream.Stream;
import java.util.zip.GZIPInputStream;
import org.perflow.io.AtomicFiles;
import org.perflow.io.FormatException;
import org.perflow.io.Json;
import org.perflow.io.Reading;
import org.perflow.models.text.UnicodeTables;

/**
 * CLIP's tokenizer, token for token as transformers' {@code CLIPTokenizer}: added tokens are cut
 * out, what is left becomes small letters and words, and words {@link BytePairs}. Immutable and
 * thread-safe.
 */
public final class CLIPTokenizer {
  private static final Pattern WHOLE_WORD = Pattern.compile("[a-z]{2,}" + BytePairs.END_OF_WORD);
  private static final Pattern PART = Pattern.compile("[a-z]+|[^a-z]+"); // of a literal <|...|>
  private static final List<String> LITERALS =
      List.of("<|startoftext|>", "<|endoftext|>", "'s", "'t", "'re", "'ve", "'m", "'ll", "'d");
  private static final int UNLIMITED = 1_000_000; // transformers writes 1e30 for "no limit"
  private static final int MAX_TOKENS = 1_000_000; // 20 times CLIP's

  private static final String CONFIG = "tokenizer_config.json";
  private static final String SPECIAL = "special_tokens_map.json";
  private static final String ADDED = "added_tokens.json";
  private static final String WHOLE = "tokenizer.json";
  private static final String VOCABULARY = "vocab.json";
  private static final String MERGES = "merges.txt";

  private final Map<String, Integer> vocabulary;
  private final BytePairs words;
  private final AddedTokens added;
  private final int begin;
  private final int end;
  private final int pad;
  private final int length;
  private final Map<String, String> files;

  private CLIPTokenizer(
      Map<String, Integer> vocabulary,
      List<String> merges,
      AddedTokens added,
      JsonNode config,
      Map<String, String> files) {
    this.vocabulary = vocabulary;
    this.added = added;
    this.files = files;
    this.begin = id(token(config, "bos_token"));
    this.end = id(token(config, "eos_token"));
    this.pad = id(token(config, "pad_token"));
    this.words = new BytePairs(vocabulary, merges, id(token(config, "unk_token")));
    this.length = length(config.path("model_max_length"));
  }

  private CLIPTokenizer(CLIPTokenizer source, AddedTokens added, Map<String, String> files) {
    this.vocabulary = source.vocabulary;
    this.words = source.words;
    this.begin = source.begin;
    this.end = source.end;
    this.pad = source.pad;
    this.length = source.length;
    this.added = added;
    this.files = files;
  }

  private static int length(JsonNode value) {
    if (!value.isMissingNode() && !value.isNull() && !value.isNumber() || value.asDouble(77) < 2) {
      throw new IllegalArgumentException("model_max_length: got " + value + ", needs 2 or more");
    }
    double limit = value.asDouble(77);
    return limit > UNLIMITED || Double.isNaN(limit) ? 77 : (int) limit;
  }

  private static String token(JsonNode config, String key) {
    JsonNode value = config.path(key); // text, or an object in older releases
    String otherwise = key.equals("bos_token") ? "<|startoftext|>" : "<|endoftext|>";
    return value.isObject() ? value.path("content").asText(otherwise) : value.asText(otherwise);
  }

  private int id(String token) {
    AddedTokens.Token special = added.get(token);
    Integer id = special == null ? vocabulary.get(token) : Integer.valueOf(special.id());
    if (id == null) {
      throw new IllegalArgumentException("the vocabulary lacks the special token " + token);
    }
    return id;
  }

  // ---------------------------------------------------------------- files

  /**
   * Reads {@code tokenizer_config.json} with {@code tokenizer.json}, as transformers 5 writes it,
   * or with {@code vocab.json} and {@code merges.txt}; added tokens in all places where they are
   * written.
   *
   * @throws FormatException naming the file that is missing or no part of a CLIP tokenizer
   */
  public static CLIPTokenizer load(Path folder) throws IOException {
    return Reading.of(folder, () -> of(folder.toString(), texts(folder)));
  }

  private static Map<String, String> texts(Path folder) throws IOException {
    Map<String, String> files = new TreeMap<>();
    for (String name : List.of(CONFIG, SPECIAL, ADDED, WHOLE, VOCABULARY, MERGES)) {
      if (Files.exists(folder.resolve(name))) {
        files.put(name, Json.text(folder.resolve(name)));
      }
    }
    return files;
  }

  /** From the files of a tokenizer's folder, by name; {@code source} names it in messages. */
  static CLIPTokenizer of(String source, Map<String, String> files) throws IOException {
    JsonNode whole = files.containsKey(WHOLE) ? json(source, files, WHOLE) : Json.MAPPER.nullNode();
    boolean separate = files.containsKey(VOCABULARY) && files.containsKey(MERGES);
    if (whole.isNull() && !separate) {
      throw new FormatException(
          source + " holds neither vocab.json with merges.txt nor tokenizer.json");
    }
    String at = source + "/" + (whole.isNull() ? VOCABULARY : WHOLE);
    try {
      JsonNode model = whole.path("model");
      if (!model.path("type").asText("BPE").equals("BPE")) {
        throw new IllegalArgumentException("got a " + model.path("type") + ", expected CLIP's BPE");
      }
      Map<String, Integer> vocabulary =
          vocabulary(whole.isNull() ? json(source, files, VOCABULARY) : model.path("vocab"));
      List<String> merges = whole.isNull() ? merges(files.get(MERGES)) : merges(model);
      at = source;
      JsonNode config = withSpecialTokens(source, files);
      JsonNode beside =
          files.containsKey(ADDED) ? json(source, files, ADDED) : Json.MAPPER.createObjectNode();
      AddedTokens added = AddedTokens.read(config, beside, whole.path("added_tokens"), vocabulary);
      return new CLIPTokenizer(vocabulary, merges, added, config, files);
    } catch (IllegalArgumentException e) {
      throw new FormatException(at + ": " + e.getMessage(), e);
    }
  }

  /** Ids by token: 0, 1, 2 and so on, each once. */
  private static Map<String, Integer> vocabulary(JsonNode node) {
    Map<String, Integer> vocabulary = new HashMap<>();
    Set<Integer> ids = new HashSet<>();
    if (!node.isObject() || node.isEmpty() || node.size() > MAX_TOKENS) {
      throw new IllegalArgumentException(
          "expected 1 to %,d tokens with their ids, got %s"
              .formatted(MAX_TOKENS, node.isObject() ? node.size() : "none"));
    }
    for (var entry : node.properties()) {
      JsonNode id = entry.getValue();
      boolean fits = id.isInt() && id.intValue() >= 0 && id.intValue() < node.size();
      if (!fits || !ids.add(id.intValue())) {
        throw new IllegalArgumentException(
            "token '%s' has id %s, expected 0 to %d, each once"
                .formatted(entry.getKey(), id, node.size() - 1));
      }
      vocabulary.put(entry.getKey(), id.intValue());
    }
    return vocabulary;
  }

  private static List<String> merges(JsonNode model) {
    List<String> merges = new ArrayList<>();
    for (JsonNode merge : model.path("merges")) { // ["a", "b"] or "a b"
      merges.add(
          merge.isArray() ? merge.path(0).asText() + " " + merge.path(1).asText() : merge.asText());
    }
    return checked(merges);
  }

  private static List<String> merges(String text) {
    return checked(
        text.lines().filter(line -> !line.isBlank() && !line.startsWith("#version")).toList());
  }

  private static List<String> checked(List<String> merges) {
    if (merges.size() > MAX_TOKENS) {
      throw new IllegalArgumentException(
          "merges: got %,d, up to %,d are read".formatted(merges.size(), MAX_TOKENS));
    }
    return merges;
  }

  /**
   * The config with what {@code special_tokens_map.json} says instead: transformers reads the map
   * last, unless the config lists its {@code added_tokens_decoder}. Stable Diffusion 2's padding
   * "!" stands in the map only.
   */
  private static JsonNode withSpecialTokens(String source, Map<String, String> files)
      throws IOException {
    ObjectNode config = json(source, files, CONFIG);
    if (config.has("additional_special_tokens") && !config.has("extra_special_tokens")) {
      config.set(
          "extra_special_tokens", config.remove("additional_special_tokens")); // its new name
    }
    if (files.containsKey(SPECIAL) && !config.has("added_tokens_decoder")) {
      config.setAll(json(source, files, SPECIAL));
    }
    return config;
  }

  private static ObjectNode json(String source, Map<String, String> files, String name)
      throws IOException {
    return FamilyConfigs.parse(source + "/" + name, files.get(name));
  }

  /**
   * The vocabulary that OpenAI's CLIP was trained with, and OpenCLIP after it: 49408 tokens.
   *
   * @param padToken {@code <|endoftext|>} for CLIP, {@code !} for OpenCLIP
   */
  public static CLIPTokenizer standard(String padToken) throws IOException {
    return of("CLIP's own tokenizer", standardFiles(padToken));
  }

  /** The folder of {@link #standard}, by file name. */
  static Map<String, String> standardFiles(String padToken) throws IOException {
    String merges = standardMerges();
    ObjectNode vocabulary = Json.MAPPER.createObjectNode();
    Stream.of(
            BytePairs.bytes().stream(),
            merges(merges).stream().map(merge -> merge.replace(" ", "")),
            Stream.of("<|startoftext|>", "<|endoftext|>"))
        .flatMap(part -> part)
        .forEach(token -> vocabulary.put(token, vocabulary.size())); // in the order of learning
    ObjectNode special = Json.MAPPER.createObjectNode();
    special.put("bos_token", "<|startoftext|>");
    special.put("eos_token", "<|endoftext|>");
    special.put("pad_token", padToken);
    special.put("unk_token", "<|endoftext|>");
    ObjectNode config = special.deepCopy();
    config.put("add_prefix_space", false);
    config.put("do_lower_case", true);
    config.put("errors", "replace");
    config.put("model_max_length", 77);
    config.put("tokenizer_class", "CLIPTokenizer");
    Map<String, String> files = new TreeMap<>();
    files.put(MERGES, merges);
    files.put(VOCABULARY, vocabulary.toString());
    files.put(SPECIAL, special.toPrettyString() + "\n");
    files.put(CONFIG, config.toPrettyString() + "\n");
    return files;
  }

  /** {@code files}, or the standard ones for those that are not among them. */
  static Map<String, String> completed(Map<String, String> files, String padToken)
      throws IOException {
    Map<String, String> all = new TreeMap<>(files);
    boolean said = files.containsKey(CONFIG); // then its special tokens, too
    standardFiles(padToken)
        .forEach(
            (name, text) -> {
              if (name.equals(VOCABULARY) || name.equals(MERGES) || !said) {
                all.putIfAbsent(name, text);
              }
            });
    return all;
  }

  private static String standardMerges() throws IOException {
    try (InputStream in =
        new GZIPInputStream(
            Objects.requireNonNull(CLIPTokenizer.class.getResourceAsStream("merges.txt.gz")))) {
      return new String(in.readAllBytes(), UTF_8);
    }
  }

  /** The files of it that bring CLIP's own vocabulary, and are not needed where that is known. */
  List<String> standardParts() throws IOException {
    List<String> large = List.of(MERGES, VOCABULARY, WHOLE);
    Map<String, String> others = new TreeMap<>(files);
    others.keySet().removeAll(large);
    CLIPTokenizer same;
    try {
      same = of("", completed(others, "!"));
    } catch (FormatException e) {
      return List.of(); // its added tokens have ids of another vocabulary
    }
    return words.isSame(same.words) && added.isSame(same.added) ? large : List.of();
  }

  /** Writes the files it was loaded from into {@code folder}. */
  public void save(Path folder) throws IOException {
    for (var file : files.entrySet()) {
      byte[] text = file.getValue().getBytes(UTF_8);
      AtomicFiles.write(folder.resolve(file.getKey()), out -> out.write(text));
    }
  }

  // ---------------------------------------------------------------- vocabulary

  /** Words of two letters or more that are one token each, in the order of their ids. */
  public List<String> words() {
    int ending = BytePairs.END_OF_WORD.length();
    return vocabulary.entrySet().stream()
        .filter(entry -> WHOLE_WORD.matcher(entry.getKey()).matches())
        .sorted(Map.Entry.comparingByValue())
        .map(entry -> entry.getKey().substring(0, entry.getKey().length() - ending))
        .toList();
  }

  /** Rows of the embedding that it needs: one more than the largest id. */
  public int size() {
    return Math.max(vocabulary.size(), added.end());
  }

  /** Whether it takes {@code token} for one token, either of its vocabulary or an added one. */
  boolean knows(String token) {
    return vocabulary.containsKey(token) || added.get(token) != null;
  }

  /** The same with more tokens, which get the next ids. */
  CLIPTokenizer with(List<String> tokens) {
    AddedTokens more = added.with(tokens, vocabulary);
    Map<String, String> written = new TreeMap<>(files);
    ObjectNode beside = more.behind(vocabulary.size(), Json.MAPPER.createObjectNode());
    written.put(ADDED, beside.toPrettyString() + "\n");
    written.remove(WHOLE);
    return new CLIPTokenizer(this, more, written);
  }

  // ---------------------------------------------------------------- texts

  /** Tokens of every encoded text ({@code model_max_length}). */
  public int length() {
    return length;
  }

  /**
   * Begin, the tokens of {@code text}, end, then padding up to {@link #length}; what does not fit
   * is cut off before the end token.
   */
  public long[] encode(String text) {
    return frame(tokens(text));
  }

  /** The same of tokens: for those who cut long texts into pieces themselves. */
  public long[] frame(List<Integer> tokens) {
    long[] ids = new long[length];
    Arrays.fill(ids, pad);
    int count = Math.min(tokens.size(), length - 2);
    ids[0] = begin;
    for (int i = 0; i < count; i++) {
      ids[i + 1] = tokens.get(i);
    }
    ids[count + 1] = end;
    return ids;
  }

  /**
   * The tokens of {@code text} alone, however many: what {@link #encode} cuts off can be told. The
   * placeholder of a textual inversion of several vectors becomes all of its tokens.
   */
  public List<Integer> tokens(String text) {
    List<Integer> tokens = new ArrayList<>();
    added.split(
        added.writtenOut(text), found -> tokens.add(found.id()), rest -> addWords(rest, tokens));
    return tokens;
  }

  private void addWords(String text, List<Integer> tokens) {
    for (int at = 0; at < text.length(); ) {
      int end = wordEnd(text, at);
      String word = text.substring(at, end);
      at = end;
      if (UnicodeTables.isSpace(word.codePointAt(0))) {
        continue;
      }
      if (word.startsWith("<|") && LITERALS.contains(word)) {
        PART.matcher(word).results().forEach(part -> addWord(part.group(), tokens));
      } else {
        addWord(word, tokens);
      }
    }
  }

  private void addWord(String word, List<Integer> tokens) {
    for (int id : words.encode(word)) {
      tokens.add(id);
    }
  }

  /** CLIP's pattern: a literal, letters, one number, or what is none of these nor a blank. */
  private static int wordEnd(String text, int at) {
    for (String literal : LITERALS) {
      if (text.startsWith(literal, at)) {
        return at + literal.length();
      }
    }
    int first = text.codePointAt(at);
    int end = at + Character.charCount(first);
    if (UnicodeTables.isNumber(first) || UnicodeTables.isSpace(first)) {
      return end;
    }
    while (end < text.length()) {
      int c = text.codePointAt(end);
      boolean other = UnicodeTables.isNumber(c) || UnicodeTables.isSpace(c);
      if (other || UnicodeTables.isLetter(c) != UnicodeTables.isLetter(first)) {
        break;
      }
      end += Character.charCount(c);
    }
    return end;
  }
}
