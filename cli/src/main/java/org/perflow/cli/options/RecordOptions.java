package org.perflow.cli.options;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.lang.reflect.RecordComponent;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.ResourceBundle;
import java.util.Set;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.perflow.io.Json;
import org.perflow.tensor.Compute;
import org.perflow.tensor.Device;
import picocli.CommandLine.ITypeConverter;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Model.ISetter;
import picocli.CommandLine.Model.OptionSpec;
import picocli.CommandLine.TypeConversionException;

/**
 * Command line options made from the components of an options record: {@code learningRate} becomes
 * {@code --learning-rate}. So the library's records are the one list of settings, and a setting
 * without a description in {@code options.properties} is a failing test.
 */
public final class RecordOptions {
  private static final ResourceBundle DESCRIPTIONS =
      ResourceBundle.getBundle("org.perflow.cli.options", Locale.ROOT);

  private final ObjectNode changes = Json.MAPPER.createObjectNode();

  /**
   * Adds an option for each component of the records, which are shown in the help. A component that
   * several records have is one option, whose default depends on which is used.
   */
  public RecordOptions(CommandSpec spec, Record... records) {
    Map<String, Class<?>> types = new LinkedHashMap<>();
    Map<String, Set<String>> usual = new LinkedHashMap<>();
    for (Record record : records) {
      ObjectNode shown = Json.MAPPER.valueToTree(record);
      for (RecordComponent component : record.getClass().getRecordComponents()) {
        String name = component.getName();
        types.put(name, component.getType());
        Set<String> values = usual.computeIfAbsent(name, any -> new LinkedHashSet<>());
        if (!shown.path(name).isNull()) {
          values.add(word(shown.path(name).asText()));
        }
      }
    }
    for (var entry : types.entrySet()) {
      String name = entry.getKey();
      spec.addOption(option(name, entry.getValue(), String.join(" or ", usual.get(name))));
    }
  }

  /** The options of one of the records, with its defaults: for the help. */
  public List<OptionSpec> of(Record record) {
    ObjectNode shown = Json.MAPPER.valueToTree(record);
    return Arrays.stream(record.getClass().getRecordComponents())
        .map(
            component -> {
              String name = component.getName();
              String standard = shown.path(name).isNull() ? "" : word(shown.path(name).asText());
              return option(name, component.getType(), standard);
            })
        .toList();
  }

  private OptionSpec option(String name, Class<?> type, String standard) {
    return OptionSpec.builder(option(name))
        .type(type == boolean.class || type.isPrimitive() ? type : String.class)
        .arity(type == boolean.class ? "0..1" : "1")
        .fallbackValue("true")
        .paramLabel(label(type))
        .description(description(name, type, standard))
        .converters(converters(type))
        .setter(setter(name))
        .build();
  }

  private static ITypeConverter<?>[] converters(Class<?> type) {
    if (type == Device.class) {
      return new ITypeConverter<?>[] {given -> Device.parse(given).toString()};
    }
    return type.isEnum()
        ? new ITypeConverter<?>[] {given -> constant(type, given)}
        : new ITypeConverter<?>[0];
  }

  /** What was given on the command line, by the record's names. */
  public ObjectNode changes() {
    return changes;
  }

  /** {@code learningRate} as {@code --learning-rate}. */
  public static String option(String component) {
    return "--" + component.replaceAll("([A-Z])", "-$1").toLowerCase(Locale.ROOT);
  }

  /** A record's refusal, by the option's name where it begins with a component's. */
  public static IllegalArgumentException named(
      IllegalArgumentException refusal, Class<? extends Record> type) {
    String message = String.valueOf(refusal.getMessage());
    for (RecordComponent component : type.getRecordComponents()) {
      String name = component.getName();
      if (message.startsWith(name + " ")) {
        message = option(name) + message.substring(name.length());
      }
    }
    return new IllegalArgumentException(message, refusal);
  }

  private static String description(String name, Class<?> type, String standard) {
    String values =
        type.isEnum() && type != Compute.class
            ? Arrays.stream(type.getEnumConstants())
                .map(value -> word(value.toString()))
                .collect(Collectors.joining(", ", ": ", ""))
            : "";
    return DESCRIPTIONS.getString(name)
        + values
        + (standard.isEmpty() ? "." : " (default: " + standard + ").");
  }

  private static String label(Class<?> type) {
    if (type == boolean.class) {
      return "true|false";
    }
    return type == int.class || type == long.class ? "N" : type.isPrimitive() ? "X" : "NAME";
  }

  private ISetter setter(String name) {
    return new ISetter() {
      @Override
      @SuppressWarnings("TypeParameterUnusedInFormals") // picocli's signature
      public <T> @Nullable T set(@Nullable T value) {
        if (value == null) {
          changes.remove(name); // picocli resets its options before it parses
        } else {
          changes.set(name, Json.MAPPER.valueToTree(value));
        }
        return null;
      }
    };
  }

  private static String constant(Class<?> type, String given) {
    if (type == Compute.class) {
      return Compute.parse(given).name();
    }
    return Arrays.stream(type.getEnumConstants())
        .map(constant -> ((Enum<?>) constant).name())
        .filter(constant -> word(constant).equals(word(given)))
        .findFirst()
        .orElseThrow(
            () ->
                new TypeConversionException(
                    "'%s' is none of %s"
                        .formatted(given, word(Arrays.toString(type.getEnumConstants())))));
  }

  /** {@code PSEUDO_HUBER} as {@code pseudo-huber}. */
  public static String word(String constant) {
    return constant.toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
