package org.perflow.models.lora;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.ArrayList;
import java.util.List;
import java.util.regex.Pattern;
import java.util.regex.PatternSyntaxException;
import org.jspecify.annotations.Nullable;
import org.perflow.io.FormatException;

/**
 * What peft's {@code LoraConfig} says of layers' strength: in {@code adapter_config.json}, or in
 * the header of a file of diffusers. Keys that make it another method than LoRA are refused; those
 * of training are left alone. Immutable.
 */
final class LoraConfig {
  /** Keys with which factors mean something else, where they are set. */
  private static final List<String> NOT_BUILT =
      List.of(
          "use_dora",
          "use_qalora",
          "use_bdlora",
          "lora_bias",
          "layer_replication",
          "alora_invocation_tokens",
          "arrow_config",
          "kasa_config",
          "monteclora_config",
          "velora_config");

  /** Of {@code init_lora_weights}: those take what they start from out of the model's weights. */
  private static final Pattern CHANGES_BASE =
      Pattern.compile("(?i)(pissa|corda|olora|loftq|lora_ga).*");

  private static final Pattern PLAIN = Pattern.compile("[\\w.]+"); // a dot may stand for itself
  private static final int MAX_RULES = 10_000;
  private static final int MAX_STEPS = 100_000; // of matching one pattern to one name

  private final String source;
  private final double rank;
  private final double alpha;
  private final boolean stabilised;
  private final boolean transposed;
  private final List<Rule> ranks;
  private final List<Rule> alphas;

  /** The value for modules whose names end so. */
  private record Rule(String ending, @Nullable Pattern pattern, double value) {}

  /**
   * Reads a config, checking all of it.
   *
   * @param source where it stands, for messages
   */
  LoraConfig(String source, ObjectNode json) throws FormatException {
    this.source = source;
    String type = json.path("peft_type").asText("LORA");
    if (!type.equals("LORA")) {
      throw bad("peft_type is " + type + ", which is not built; supported: LORA");
    }
    for (String key : NOT_BUILT) {
      JsonNode value = json.path(key);
      boolean unset =
          value.isMissingNode() || value.isNull() || value.isContainerNode() && value.isEmpty();
      if (!unset && !(value.isBoolean() && !value.booleanValue())) {
        throw bad(key + " is " + value + ", which is not built");
      }
    }
    String start = json.path("init_lora_weights").asText();
    if (CHANGES_BASE.matcher(start).matches()) {
      throw bad(
          "init_lora_weights is "
              + start
              + ", which changes the model's own weights too; save it as a plain LoRA (peft: path_initial_model_for_weight_conversion)");
    }
    this.rank = number(json, "r", 8); // peft's defaults
    this.alpha = number(json, "lora_alpha", 8);
    JsonNode root = json.path("use_rslora");
    if (!(root.isMissingNode() || root.isNull() || root.isBoolean())) {
      throw bad("use_rslora is " + root + ", expected true or false");
    }
    this.stabilised = root.asBoolean();
    this.transposed = json.path("fan_in_fan_out").asBoolean();
    this.ranks = rules(json, "rank_pattern");
    this.alphas = rules(json, "alpha_pattern");
  }

  /** The keys of one part, where each begins with its name as in diffusers' headers; or null. */
  static @Nullable ObjectNode part(ObjectNode json, String part) {
    if (json.properties().stream().noneMatch(key -> key.getKey().contains("."))) {
      return part.equals(LoraNames.UNET) ? json : null; // of a U-Net that was saved by itself
    }
    ObjectNode own = json.objectNode();
    for (var property : json.properties()) {
      if (property.getKey().startsWith(part + ".")) {
        own.set(property.getKey().substring(part.length() + 1), property.getValue());
      }
    }
    return own.isEmpty() ? null : own;
  }

  private double number(ObjectNode json, String key, double otherwise) throws FormatException {
    JsonNode value = json.path(key);
    return value.isMissingNode() || value.isNull() ? otherwise : number(key, value);
  }

  private double number(String key, JsonNode value) throws FormatException {
    if (!value.isNumber() || !Double.isFinite(value.doubleValue())) {
      throw bad(key + " is " + value + ", expected a number");
    }
    return value.doubleValue();
  }

  private List<Rule> rules(ObjectNode json, String key) throws FormatException {
    JsonNode patterns = json.path(key);
    if (!(patterns.isObject() || patterns.isMissingNode() || patterns.isNull())) {
      throw bad(key + " is " + patterns + ", expected an object of names");
    }
    if (patterns.size() > MAX_RULES) {
      throw bad("%s has %d names, no model has as many layers".formatted(key, patterns.size()));
    }
    List<Rule> rules = new ArrayList<>();
    for (var entry : patterns.properties()) {
      String ending = entry.getKey();
      try {
        boolean plain = PLAIN.matcher(ending).matches();
        Pattern pattern = plain ? null : Pattern.compile("(?:.*\\.)?(?:" + ending + ")");
        rules.add(new Rule(ending, pattern, number(key + " of " + ending, entry.getValue())));
      } catch (PatternSyntaxException | StackOverflowError e) {
        throw new FormatException(message(key + " has '" + ending + "', which is no pattern"), e);
      }
    }
    return rules;
  }

  // ---------------------------------------------------------------- of a layer

  /** Whether it says that weights are stored as GPT-2's are. */
  boolean isTransposed() {
    return transposed;
  }

  /** r of a layer; peft counts in whole numbers, and what is none fits no factors. */
  double rank(String module) throws FormatException {
    return value(ranks, module, rank);
  }

  /**
   * α of a layer in the sense of α/r, so α·√r where it is rank-stabilised (Kalajdzievski, arXiv
   * 2312.03732) and its factor is α/√r.
   */
  double alpha(String module) throws FormatException {
    double own = value(alphas, module, alpha);
    return stabilised ? own * Math.sqrt(rank(module)) : own;
  }

  /** That of the first rule for the module, as peft looks it up. */
  private double value(List<Rule> rules, String module, double otherwise) throws FormatException {
    for (Rule rule : rules) {
      if (matches(rule, module) || matches(rule, "text_model." + module)) {
        return rule.value();
      }
    }
    return otherwise;
  }

  private boolean matches(Rule rule, String module) throws FormatException {
    if (rule.pattern() == null) {
      return module.equals(rule.ending()) || module.endsWith("." + rule.ending());
    }
    try {
      return rule.pattern().matcher(new Bounded(module)).matches();
    } catch (IllegalStateException | StackOverflowError e) {
      throw new FormatException(
          message("'%s' takes too long to match with %s".formatted(rule.ending(), module)), e);
    }
  }

  /** Where it stands. */
  @Override
  public String toString() {
    return source;
  }

  private String message(String problem) {
    return source + ": " + problem;
  }

  private FormatException bad(String problem) {
    return new FormatException(message(problem));
  }

  /** Characters that end: some patterns take exponential time to fail. */
  private static final class Bounded implements CharSequence {
    private final String text;
    private int steps;

    Bounded(String text) {
      this.text = text;
    }

    @Override
    public char charAt(int index) {
      if (++steps > MAX_STEPS) {
        throw new IllegalStateException("too slow");
      }
      return text.charAt(index);
    }

    @Override
    public int length() {
      return text.length();
    }

    @Override
    public CharSequence subSequence(int start, int end) {
      return text.substring(start, end);
    }
  }
}
