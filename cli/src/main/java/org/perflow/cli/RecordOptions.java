package org.perflow.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.lang.reflect.RecordComponent;
import java.util.Arrays;
import java.util.Locale;
import java.util.ResourceBundle;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.perflow.io.Json;
import org.perflow.tensor.DType;
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
final class RecordOptions {
  private static final ResourceBundle DESCRIPTIONS =
      ResourceBundle.getBundle("org.perflow.cli.options", Locale.ROOT);

  private final ObjectNode changes = Json.MAPPER.createObjectNode();

  /** Adds an option for each component of {@code defaults}, which are shown in the help. */
  RecordOptions(CommandSpec spec, Record defaults) {
    ObjectNode shown = Json.MAPPER.valueToTree(defaults);
    for (RecordComponent component : defaults.getClass().getRecordComponents()) {
      String name = component.getName();
      Class<?> type = component.getType();
      spec.addOption(
          OptionSpec.builder(option(name))
              .type(type == boolean.class || type.isPrimitive() ? type : String.class)
              .arity(type == boolean.class ? "0..1" : "1")
              .fallbackValue("true")
              .paramLabel(label(type))
              .description(description(name, type, shown.path(name).asText()))
              .converters(
                  type.isEnum()
                      ? new ITypeConverter<?>[] {given -> constant(type, given)}
                      : new ITypeConverter<?>[0])
              .setter(setter(name))
              .build());
    }
  }

  /** What was given on the command line, by the record's names. */
  ObjectNode changes() {
    return changes;
  }

  /** {@code learningRate} as {@code --learning-rate}. */
  static String option(String component) {
    return "--" + component.replaceAll("([A-Z])", "-$1").toLowerCase(Locale.ROOT);
  }

  private static String description(String name, Class<?> type, String standard) {
    String values =
        type.isEnum() && type != DType.class
            ? Arrays.stream(type.getEnumConstants())
                .map(value -> word(value.toString()))
                .collect(Collectors.joining(", ", ": ", ""))
            : "";
    String usual = standard.isEmpty() || standard.equals("null") ? "" : word(standard);
    return DESCRIPTIONS.getString(name)
        + values
        + (usual.isEmpty() ? "." : " (default: " + usual + ").");
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
    if (type == DType.class) {
      return DType.parse(given).name();
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
  static String word(String constant) {
    return constant.toLowerCase(Locale.ROOT).replace('_', '-');
  }
}
