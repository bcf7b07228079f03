package org.perflow.data;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.function.IntConsumer;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import javax.imageio.ImageIO;
import org.perflow.io.AtomicFiles;
import org.perflow.io.Json;
import org.perflow.io.Sample;
import org.perflow.io.ShardWriter;

/**
 * Builds captioned pictures of emoji as WebDataset shards: {@code train-0000.tar}, ... and {@code
 * test.tar}, with an {@code ATTRIBUTION.md} beside them.
 *
 * <p>People (most have skin tones) and flags are left out. One concept in twelve is held out in
 * every style, so that a test caption was never trained on, whatever the style; but only concepts
 * whose words all stand in the captions of two others that are trained on: a model can be asked for
 * a new composition of what it knows, not for a word it never met.
 *
 * <pre>{@code
 * EmojiDataset.Summary written =
 *     EmojiDataset.build(
 *         Path.of("data/emoji-64"),
 *         Installation.cache(), // where the drawings are fetched to
 *         List.of(EmojiStyle.of("fluent-flat")),
 *         64,
 *         drawn -> {});
 * System.out.println(written.train() + " pictures to train with");
 * }</pre>
 */
public final class EmojiDataset {
  private static final NpmPackage CAPTIONS =
      new NpmPackage(
          "emojibase-data",
          "17.0.0",
          "d01d0e2ca4e22cb402679532155342c71e2e871f25c32223c013b8b166ebdf5a");

  // emojibase groups: smileys, animals, food, places, activities, objects, symbols.
  private static final Set<Integer> GROUPS = Set.of(0, 3, 4, 5, 6, 7, 8);
  private static final int HELD_OUT_EVERY = 12;
  private static final int USES = 2;
  private static final Pattern NOT_WORDS = Pattern.compile("[^\\p{L}\\p{N}]+");
  private static final int SHARD_SIZE = 2000;

  /** What was written. */
  public record Summary(int train, int test, List<String> shards, List<String> styles) {}

  private record Drawing(EmojiStyle style, String key, String svg, ObjectNode about) {
    String label() {
      return about.path("label").asText();
    }

    List<String> tags() {
      List<String> tags = new ArrayList<>();
      about.path("tags").forEach(tag -> tags.add(tag.asText()));
      return tags;
    }
  }

  private EmojiDataset() {}

  /**
   * Writes the shards to {@code out}.
   *
   * @param packages folder that holds the npm packages, or will
   * @param size width and height of the pictures
   * @param progress is told the number of pictures drawn so far
   */
  public static Summary build(
      Path out, Path packages, List<EmojiStyle> styles, int size, IntConsumer progress)
      throws IOException {
    Files.createDirectories(out);
    List<Drawing> drawings = new ArrayList<>();
    StringBuilder attribution = new StringBuilder(ATTRIBUTION_HEAD);
    JsonNode captions = Json.read(CAPTIONS.fetch(packages).resolve("en/data.json"));
    for (EmojiStyle style : styles) {
      IconSet icons = new IconSet(style.source().fetch(packages));
      int found = collect(style, icons, captions, drawings);
      attribution.append(attribution(style, icons.licence(), found));
    }
    if (styles.size() > 1) {
      // Mixed by a fixed rule: readers that take the first pictures of a shard see every style.
      drawings.sort(Comparator.comparingLong(d -> crc32(d.style.id() + d.key)));
    }
    Set<String> held = heldOut(captions);
    List<Drawing> train = drawings.stream().filter(d -> !held.contains(d.label())).toList();
    List<Drawing> test = drawings.stream().filter(d -> held.contains(d.label())).toList();
    List<String> shards = new ArrayList<>();
    int drawn = 0;
    for (int first = 0; first < train.size(); first += SHARD_SIZE) {
      String shard = "train-%04d.tar".formatted(first / SHARD_SIZE);
      List<Drawing> part = train.subList(first, Math.min(first + SHARD_SIZE, train.size()));
      write(out.resolve(shard), part, size, drawn, progress);
      drawn += part.size();
      shards.add(shard);
    }
    write(out.resolve("test.tar"), test, size, drawn, progress);
    shards.add("test.tar");
    AtomicFiles.write(
        out.resolve("ATTRIBUTION.md"),
        stream -> stream.write(attribution.toString().getBytes(StandardCharsets.UTF_8)));
    return new Summary(
        train.size(), test.size(), shards, styles.stream().map(EmojiStyle::id).toList());
  }

  /** Labels of the test split, the same whatever the styles: in the order of a hash. */
  private static Set<String> heldOut(JsonNode captions) {
    Map<String, Set<String>> concepts =
        new TreeMap<>(Comparator.comparingLong(EmojiDataset::crc32)); // label to its words
    for (JsonNode emoji : captions) {
      if (isDrawn(emoji)) {
        concepts.put(label(emoji), words(emoji));
      }
    }
    Map<String, Long> uses =
        concepts.values().stream()
            .flatMap(Set::stream)
            .collect(Collectors.groupingBy(word -> word, Collectors.counting()));
    Set<String> held = new HashSet<>();
    concepts.forEach(
        (label, words) -> {
          if (held.size() * HELD_OUT_EVERY < concepts.size()
              && words.stream().allMatch(word -> uses.get(word) > USES)) {
            held.add(label);
            words.forEach(word -> uses.merge(word, -1L, Long::sum));
          }
        });
    return held;
  }

  /** Regional indicators have no group; skin tones are children and never looked at. */
  private static boolean isDrawn(JsonNode emoji) {
    return GROUPS.contains(emoji.path("group").asInt(-1));
  }

  private static String label(JsonNode emoji) {
    return emoji.path("label").asText().toLowerCase(Locale.ROOT);
  }

  private static List<String> tags(JsonNode emoji) {
    List<String> tags = new ArrayList<>();
    emoji.path("tags").forEach(tag -> tags.add(tag.asText().toLowerCase(Locale.ROOT)));
    return tags;
  }

  /** Words of label and tags. */
  private static Set<String> words(JsonNode emoji) {
    return Stream.concat(Stream.of(label(emoji)), tags(emoji).stream())
        .flatMap(NOT_WORDS::splitAsStream)
        .filter(word -> !word.isEmpty())
        .collect(Collectors.toSet());
  }

  /** "STYLE emoji of LABEL, tag, tag". */
  static String caption(String style, String label, List<String> tags) {
    StringBuilder caption = new StringBuilder(style).append(" emoji of ").append(label);
    tags.stream()
        .filter(tag -> !tag.equals(label))
        .forEach(tag -> caption.append(", ").append(tag));
    return caption.toString();
  }

  private static int collect(
      EmojiStyle style, IconSet icons, JsonNode captions, List<Drawing> drawings) {
    int found = 0;
    for (JsonNode emoji : captions) {
      if (!isDrawn(emoji)) {
        continue;
      }
      var icon = icons.find(emoji.path("hexcode").asText());
      if (icon.isEmpty()) {
        continue;
      }
      ObjectNode about = Json.MAPPER.createObjectNode();
      about.put("style", style.word()).put("label", label(emoji));
      ArrayNode tags = about.putArray("tags");
      tags(emoji).forEach(tags::add);
      about.put("concept", emoji.path("hexcode").asText());
      about.put("licence", icons.licence().spdx());
      about.put("source", style.source().name() + "@" + style.source().version());
      drawings.add(new Drawing(style, icon.get().key(), icon.get().svg(), about));
      found++;
    }
    return found;
  }

  private static void write(
      Path shard, List<Drawing> drawings, int size, int drawnBefore, IntConsumer progress)
      throws IOException {
    SvgRenderer renderer = new SvgRenderer();
    int drawn = drawnBefore;
    try (ShardWriter writer = new ShardWriter(shard)) {
      for (Drawing drawing : drawings) {
        String key = drawing.style.id() + "-" + drawing.key;
        BufferedImage picture = renderer.render(drawing.svg, size, key);
        ByteArrayOutputStream png = new ByteArrayOutputStream();
        ImageIO.write(picture, "png", png);
        String caption = caption(drawing.style.word(), drawing.label(), drawing.tags());
        writer.write(new Sample("", key, png.toByteArray(), caption, drawing.about));
        progress.accept(++drawn);
      }
      writer.finish();
    }
  }

  private static final String ATTRIBUTION_HEAD =
      """
      # Where these pictures come from

      Captions: emojibase-data %s, MIT, Copyright (c) Miles Johnson; labels and tags from Unicode
      CLDR (Unicode License v3).
      """
          .formatted(CAPTIONS.version());

  private static String attribution(EmojiStyle style, IconSet.Licence licence, int pictures) {
    return """

    ## %s

    %,d pictures from the npm package %s %s, drawn by %s (%s).
    %s. Licence: %s (%s, %s).

    %s"""
        .formatted(
            style.id(),
            pictures,
            style.source().name(),
            style.source().version(),
            licence.author(),
            licence.authorUrl(),
            style.copyright(),
            licence.title(),
            licence.spdx(),
            licence.url(),
            style.terms());
  }

  private static long crc32(String text) {
    CRC32 crc = new CRC32();
    crc.update(text.getBytes(StandardCharsets.UTF_8));
    return crc.getValue();
  }
}
