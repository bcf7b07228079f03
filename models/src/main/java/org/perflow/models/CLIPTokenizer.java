package org.perflow.models;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.text.Normalizer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.TreeMap;
import java.util.concurrent.ConcurrentHashMap;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.zip.GZIPInputStream;
import org.jspecify.annotations.Nullable;
import org.perflow.io.AtomicFiles;
import org.perflow.io.FormatException;
import org.perflow.io.Json;

/**
 * CLIP's byte-level BPE (Sennrich et al., arXiv 1508.07909), token for token as transformers'
 * {@code CLIPTokenizer}. Immutable and thread-safe.
 */
public final class CLIPTokenizer {
  private static final String END_OF_WORD = "</w>";
  private static final Pattern WHOLE_WORD = Pattern.compile("[a-z]{2,}" + END_OF_WORD);
  private static final int UNLIMITED = 1_000_000; // transformers writes 1e30 for "no limit"
  private static final Pattern SPACE = Pattern.compile("\\s+", Pattern.UNICODE_CHARACTER_CLASS);
  private static final Pattern WORD =
      Pattern.compile(
          "<\\|startoftext\\|>|<\\|endoftext\\|>|'s|'t|'re|'ve|'m|'ll|'d"
              + "|\\p{L}+|\\p{N}|[^\\s\\p{L}\\p{N}]+",
          Pattern.UNICODE_CHARACTER_CLASS);
  private static final Pattern PART = Pattern.compile("[a-z]+|[^a-z]+"); // of a literal <|...|>
  private static final String[] BYTE_SYMBOLS = byteSymbols();

  private final Map<String, Integer> vocabulary;
  private final Map<Pair, Integer> ranks;
  private final Map<String, Integer> special;
  private final Pattern specialPattern;
  private final int begin;
  private final int end;
  private final int pad;
  private final int unknown;
  private final int length;
  private final Map<String, byte[]> files;
  private final Map<String, int[]> cache = new ConcurrentHashMap<>();

  private record Pair(String left, String right) {}

  private CLIPTokenizer(
      Map<String, Integer> vocabulary,
      Map<Pair, Integer> ranks,
      JsonNode config,
      Map<String, byte[]> files) {
    this.vocabulary = vocabulary;
    this.ranks = ranks;
    this.files = files;
    String padToken = token(config, "pad_token");
    this.begin = id(token(config, "bos_token"));
    this.end = id(token(config, "eos_token"));
    this.pad = id(padToken);
    this.unknown = id(token(config, "unk_token"));
    this.special =
        Stream.of("bos_token", "eos_token", "pad_token", "unk_token")
            .map(key -> token(config, key))
            .distinct()
            .collect(Collectors.toMap(text -> text, this::id));
    this.specialPattern =
        Pattern.compile(
            special.keySet().stream().map(Pattern::quote).collect(Collectors.joining("|")));
    double limit = config.path("model_max_length").asDouble(77);
    this.length = limit > UNLIMITED ? 77 : (int) limit;
    if (length < 2) {
      throw new IllegalArgumentException("model_max_length: got " + length + ", needs 2 or more");
    }
  }

  private static String token(JsonNode config, String key) {
    JsonNode value = config.path(key); // text, or an object in older releases
    String otherwise = key.equals("bos_token") ? "<|startoftext|>" : "<|endoftext|>";
    return value.isObject() ? value.path("content").asText(otherwise) : value.asText(otherwise);
  }

  private int id(String token) {
    Integer id = vocabulary.get(token);
    if (id == null) {
      throw new IllegalArgumentException("the vocabulary lacks the special token " + token);
    }
    return id;
  }

  /** Words of two letters or more that are one token each, in the order of their ids. */
  public List<String> words() {
    return vocabulary.entrySet().stream()
        .filter(entry -> WHOLE_WORD.matcher(entry.getKey()).matches())
        .sorted(Map.Entry.comparingByValue())
        .map(entry -> entry.getKey().substring(0, entry.getKey().length() - END_OF_WORD.length()))
        .toList();
  }

  /**
   * Reads {@code tokenizer_config.json} with {@code vocab.json} and {@code merges.txt} or, as
   * transformers 5 writes it, {@code tokenizer.json}.
   */
  public static CLIPTokenizer load(Path folder) throws IOException {
    Map<String, byte[]> files = new TreeMap<>();
    for (String name :
        List.of(
            "tokenizer_config.json",
            "special_tokens_map.json",
            "tokenizer.json",
            "vocab.json",
            "merges.txt")) {
      if (Files.exists(folder.resolve(name))) {
        files.put(name, Files.readAllBytes(folder.resolve(name)));
      }
    }
    return of(folder.toString(), files);
  }

  /** From the files of a tokenizer's folder, by name; {@code source} names it in messages. */
  static CLIPTokenizer of(String source, Map<String, byte[]> files) throws IOException {
    Map<String, Integer> vocabulary = new HashMap<>();
    List<String> merges;
    if (files.containsKey("vocab.json") && files.containsKey("merges.txt")) {
      putAll(vocabulary, json(source, files, "vocab.json"));
      merges = merges(files.get("merges.txt"));
    } else if (files.containsKey("tokenizer.json")) {
      JsonNode model = json(source, files, "tokenizer.json").path("model");
      putAll(vocabulary, model.path("vocab"));
      merges = new ArrayList<>();
      for (JsonNode merge : model.path("merges")) { // ["a", "b"] or "a b"
        merges.add(
            merge.isArray()
                ? merge.path(0).asText() + " " + merge.path(1).asText()
                : merge.asText());
      }
    } else {
      throw new FormatException(
          source + " holds neither vocab.json with merges.txt nor tokenizer.json");
    }
    try {
      JsonNode config = withSpecialTokens(source, files);
      return new CLIPTokenizer(vocabulary, ranks(merges), config, files);
    } catch (IllegalArgumentException e) {
      throw new FormatException(source + ": " + e.getMessage(), e);
    }
  }

  /**
   * The config with what {@code special_tokens_map.json} says instead: transformers reads the map
   * last, unless the config lists its {@code added_tokens_decoder}. Stable Diffusion 2's padding
   * "!" stands in the map only.
   */
  private static JsonNode withSpecialTokens(String source, Map<String, byte[]> files)
      throws IOException {
    JsonNode config = json(source, files, "tokenizer_config.json");
    if (!files.containsKey("special_tokens_map.json") || config.has("added_tokens_decoder")) {
      return config;
    }
    ObjectNode merged = config.deepCopy();
    json(source, files, "special_tokens_map.json")
        .properties()
        .forEach(entry -> merged.set(entry.getKey(), entry.getValue()));
    return merged;
  }

  private static JsonNode json(String source, Map<String, byte[]> files, String name)
      throws IOException {
    byte[] text = files.get(name);
    String where = source + "/" + name;
    return FamilyConfigs.parse(where, text == null ? null : new String(text, UTF_8));
  }

  private static List<String> merges(byte[] text) {
    return new String(text, UTF_8)
        .lines()
        .filter(line -> !line.isBlank() && !line.startsWith("#version"))
        .toList();
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
  static Map<String, byte[]> standardFiles(String padToken) throws IOException {
    byte[] merges = standardMerges();
    ObjectNode vocabulary = Json.MAPPER.createObjectNode();
    List<String> bytes = Arrays.stream(BYTE_SYMBOLS).sorted().toList();
    Stream<String> tokens =
        Stream.of(
                bytes.stream(),
                bytes.stream().map(symbol -> symbol + END_OF_WORD),
                merges(merges).stream().map(merge -> merge.replace(" ", "")),
                Stream.of("<|startoftext|>", "<|endoftext|>"))
            .flatMap(part -> part);
    tokens.forEach(token -> vocabulary.put(token, vocabulary.size())); // in the order of learning
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
    Map<String, byte[]> files = new TreeMap<>();
    files.put("merges.txt", merges);
    files.put("vocab.json", vocabulary.toString().getBytes(UTF_8));
    files.put("special_tokens_map.json", (special.toPrettyString() + "\n").getBytes(UTF_8));
    files.put("tokenizer_config.json", (config.toPrettyString() + "\n").getBytes(UTF_8));
    return files;
  }

  /** Whether both make the same tokens of every text; they may pad differently. */
  boolean hasVocabularyOf(CLIPTokenizer other) {
    return vocabulary.equals(other.vocabulary) && ranks.equals(other.ranks);
  }

  private static byte[] standardMerges() throws IOException {
    try (InputStream in =
        new GZIPInputStream(
            Objects.requireNonNull(CLIPTokenizer.class.getResourceAsStream("merges.txt.gz")))) {
      return in.readAllBytes();
    }
  }

  private static void putAll(Map<String, Integer> vocabulary, JsonNode node) {
    node.properties().forEach(entry -> vocabulary.put(entry.getKey(), entry.getValue().asInt()));
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

  /** Writes the files it was loaded from into {@code folder}. */
  public void save(Path folder) throws IOException {
    for (var file : files.entrySet()) {
      AtomicFiles.write(folder.resolve(file.getKey()), out -> out.write(file.getValue()));
    }
  }

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

  /** The tokens of {@code text} alone, however many: what {@link #encode} cuts off can be told. */
  public List<Integer> tokens(String text) {
    List<Integer> tokens = new ArrayList<>();
    Matcher matcher = specialPattern.matcher(text); // before normalisation: exact spelling only
    int at = 0;
    while (matcher.find()) {
      addWords(text.substring(at, matcher.start()), tokens);
      tokens.add(special.get(matcher.group()));
      at = matcher.end();
    }
    addWords(text.substring(at), tokens);
    return tokens;
  }

  private void addWords(String text, List<Integer> tokens) {
    String clean = SPACE.matcher(Normalizer.normalize(text, Normalizer.Form.NFC)).replaceAll(" ");
    Matcher words = WORD.matcher(lowerCase(clean));
    while (words.find()) {
      String word = words.group();
      if (word.startsWith("<|") && word.endsWith("text|>")) {
        PART.matcher(word).results().forEach(part -> addWord(part.group(), tokens));
      } else {
        addWord(word, tokens);
      }
    }
  }

  /** Each code point by itself, as Rust's char: no final sigma, which depends on neighbours. */
  private static String lowerCase(String text) {
    StringBuilder lower = new StringBuilder(text.length());
    text.codePoints()
        .forEach(
            c -> {
              if (c == 0x130) { // the only one that becomes two: capital i with dot
                lower.append("i\u0307");
              } else {
                lower.appendCodePoint(Character.toLowerCase(c));
              }
            });
    return lower.toString();
  }

  private void addWord(String word, List<Integer> tokens) {
    int[] ids = cache.get(word);
    if (ids == null) {
      ids = encodeWord(word);
      if (cache.size() < 100_000) {
        cache.put(word, ids);
      }
    }
    for (int id : ids) {
      tokens.add(id);
    }
  }

  private int[] encodeWord(String word) {
    List<String> symbols = new ArrayList<>();
    for (byte b : word.getBytes(UTF_8)) {
      symbols.add(BYTE_SYMBOLS[b & 0xff]);
    }
    int last = symbols.size() - 1;
    symbols.set(last, symbols.get(last) + END_OF_WORD);
    while (mergeBest(symbols)) {
      // until no pair of neighbours is in the table
    }
    return symbols.stream().mapToInt(symbol -> vocabulary.getOrDefault(symbol, unknown)).toArray();
  }

  /** Joins the leftmost of the neighbours that were joined earliest when the table was learnt. */
  private boolean mergeBest(List<String> symbols) {
    int best = -1;
    @Nullable Integer bestRank = null;
    for (int i = 0; i + 1 < symbols.size(); i++) {
      Integer rank = ranks.get(new Pair(symbols.get(i), symbols.get(i + 1)));
      if (rank != null && (bestRank == null || rank < bestRank)) {
        best = i;
        bestRank = rank;
      }
    }
    if (best < 0) {
      return false;
    }
    symbols.set(best, symbols.get(best) + symbols.remove(best + 1));
    return true;
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
