package org.perflow.data;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.perflow.io.Json;

/** The drawings of an {@code @iconify-json} package, found by the emoji's code points. */
final class IconSet {
  record Icon(String key, String svg) {}

  record Licence(String title, String spdx, String url, String author, String authorUrl) {}

  private final JsonNode icons;
  private final Licence licence;
  private final Map<String, String> keys = new HashMap<>();

  IconSet(Path packageFolder) throws IOException {
    // Verified by its hash, and larger than a configuration may be.
    icons = Json.MAPPER.readTree(packageFolder.resolve("icons.json").toFile());
    JsonNode info = Json.read(packageFolder.resolve("info.json"));
    licence =
        new Licence(
            info.at("/license/title").asText(),
            info.at("/license/spdx").asText(),
            info.at("/license/url").asText(),
            info.at("/author/name").asText(),
            info.at("/author/url").asText());
    Json.read(packageFolder.resolve("chars.json"))
        .properties()
        .forEach(e -> keys.put(codePoints(e.getKey()), e.getValue().asText()));
  }

  Licence licence() {
    return licence;
  }

  /** The drawing of the emoji {@code hexcode} as an SVG document, if the set shows one. */
  Optional<Icon> find(String hexcode) {
    String key = keys.getOrDefault(codePoints(hexcode), "");
    JsonNode icon = icons.path("icons").path(key);
    if (icon.isMissingNode() || icon.path("hidden").asBoolean()) {
      return Optional.empty();
    }
    String svg =
        """
        <svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink" \
        viewBox="%s %s %s %s">%s</svg>"""
            .formatted(
                size(icon, "left", 0),
                size(icon, "top", 0),
                size(icon, "width", 16),
                size(icon, "height", 16),
                icon.path("body").asText());
    return Optional.of(new Icon(key, svg));
  }

  /** The icon's own value, else the set's, else Iconify's default. */
  private String size(JsonNode icon, String name, int standard) {
    return icon.path(name).asText(icons.path(name).asText(Integer.toString(standard)));
  }

  /** Lower case without the variation selector FE0F, which packages use or leave out at will. */
  private static String codePoints(String hexcode) {
    return Stream.of(hexcode.toLowerCase(Locale.ROOT).split("-"))
        .filter(point -> !point.equals("fe0f"))
        .collect(Collectors.joining("-"));
  }
}
