package org.perflow.importing;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.perflow.importing.ImportPlan.Shard;
import org.perflow.importing.LeftOut.Why;
import org.perflow.importing.Preparation.About;
import org.perflow.importing.ShardImport.Thumb;
import org.perflow.io.Images;
import org.perflow.io.Json;
import org.perflow.models.CLIPTokenizer;
import org.perflow.report.Charts;
import org.perflow.report.Report;
import org.perflow.report.Report.Row;

/** Shows what came of an import: {@code report.html}, and as text {@code report.md}. */
final class ImportReport {
  private static final int MOST_SHOWN = 100; // of pictures that have something wrong with them
  private static final int THUMBS = 72;
  private static final int FRAME = 2; // tokens of beginning and end

  private final ImportOptions options;
  private final List<About> pictures;
  private final int[] lengths; // tokens of each caption
  private final String longest;
  private final List<Thumb> thumbs;
  private final Imported imported;

  private ImportReport(
      ImportOptions options,
      List<About> pictures,
      int[] lengths,
      String longest,
      List<Thumb> thumbs,
      Imported imported) {
    this.options = options;
    this.pictures = pictures;
    this.lengths = lengths;
    this.longest = longest;
    this.thumbs = thumbs;
    this.imported = imported;
  }

  static ImportReport of(
      ImportOptions options,
      ImportPlan plan,
      CLIPTokenizer tokenizer,
      List<About> train,
      List<About> test,
      List<LeftOut> leftOut,
      List<Thumb> thumbs) {
    List<About> all = Stream.concat(train.stream(), test.stream()).toList();
    Map<String, Integer> counted = new HashMap<>();
    List<String> captions =
        plan.shards().stream()
            .map(Shard::entries)
            .flatMap(List::stream)
            .map(Entry::caption)
            .toList();
    captions.forEach(text -> counted.computeIfAbsent(text, any -> tokenizer.tokens(text).size()));
    int[] lengths = captions.stream().mapToInt(counted::get).toArray();
    String longest = captions.stream().max(Comparator.comparing(counted::get)).orElse("");
    Map<String, Integer> sizes = new TreeMap<>();
    all.forEach(picture -> sizes.merge(picture.made().toString(), 1, Integer::sum));
    return new ImportReport(
        options,
        all,
        lengths,
        longest,
        thumbs,
        new Imported(
            train.size(),
            test.size(),
            sizes,
            captionLengths(lengths, tokenizer.length() - FRAME),
            leftOut,
            Duplicates.exact(all),
            Duplicates.near(all)));
  }

  private static Imported.CaptionLengths captionLengths(int[] lengths, int limit) {
    int[] sorted = lengths.clone();
    Arrays.sort(sorted);
    int over = (int) Arrays.stream(sorted).filter(length -> length > limit).count();
    return new Imported.CaptionLengths(
        limit, sorted[sorted.length - 1], sorted[sorted.length / 2], over);
  }

  Imported imported() {
    return imported;
  }

  void write(Path folder) throws IOException {
    List<Report.Section> sections = new ArrayList<>();
    sections.add(counts());
    sections.add(gallery());
    sections.add(sizes());
    sections.add(
        Charts.histogram(
            "Lengths of captions",
            "tokens of a caption",
            "pictures",
            lengths,
            imported.captions().limit()));
    for (Why why : Why.values()) {
      List<LeftOut> some = imported.leftOut().stream().filter(l -> l.why() == why).toList();
      if (!some.isEmpty()) {
        sections.add(leftOut(why, some));
      }
    }
    groups(sections, "The same file more than once", imported.duplicates());
    groups(sections, "Pictures that look the same", imported.nearDuplicates());
    sections.add(settings());
    new Report("Imported pictures", lead(), sections).write(folder.resolve("report.html"));
  }

  private String lead() {
    return "%,d pictures to train with and %,d held out, told in words that training never sees; %,d were left out."
        .formatted(imported.train(), imported.heldOut(), imported.leftOut().size());
  }

  private Report.Settings counts() {
    Map<String, String> counts = new LinkedHashMap<>();
    counts.put("To train with", "%,d".formatted(imported.train()));
    counts.put("Held out", "%,d".formatted(imported.heldOut()));
    counts.put("Cut at the sides", "%,d".formatted(pictures.stream().filter(About::cut).count()));
    counts.put("The same file again", "%,d".formatted(more(imported.duplicates())));
    counts.put("Look like another", "%,d".formatted(more(imported.nearDuplicates())));
    imported
        .reasons()
        .forEach((why, count) -> counts.put("Left out: " + why, "%,d".formatted(count)));
    Imported.CaptionLengths captions = imported.captions();
    counts.put(
        "Captions",
        "half of them have up to %d tokens, the longest %d; %s"
            .formatted(
                captions.median(),
                captions.longest(),
                captions.over() == 0
                    ? "all are read to the end (up to %d are)".formatted(captions.limit())
                    : "of %,d the end is not read, behind %d tokens"
                        .formatted(captions.over(), captions.limit())));
    counts.put("Longest caption", longest);
    return new Report.Settings("Counts", counts);
  }

  private static int more(List<List<String>> groups) {
    return groups.stream().mapToInt(group -> group.size() - 1).sum();
  }

  private Report.Gallery gallery() throws IOException {
    List<Report.Gallery.Picture> shown = new ArrayList<>();
    int count = Math.min(THUMBS, thumbs.size());
    for (int i = 0; i < count; i++) {
      Thumb thumb = thumbs.get((int) ((long) i * thumbs.size() / count));
      BufferedImage image = Images.decode(thumb.jpeg(), thumb.caption());
      shown.add(new Report.Gallery.Picture(thumb.caption(), image));
    }
    return new Report.Gallery(
        "Some of them", "As training sees them, but smaller, with their captions.", shown);
  }

  private Report.Table sizes() {
    List<Row> rows = new ArrayList<>();
    Map<String, Integer> sizes = new LinkedHashMap<>();
    imported.sizes().entrySet().stream()
        .sorted(Map.Entry.<String, Integer>comparingByValue().reversed())
        .forEach(size -> sizes.put(size.getKey(), size.getValue()));
    sizes.forEach(
        (size, count) -> {
          List<About> of = pictures.stream().filter(p -> p.made().toString().equals(size)).toList();
          rows.add(
              new Row(
                  Row.Kind.FIGURES,
                  size,
                  List.of(
                      "%,d".formatted(count),
                      "%,d".formatted(of.stream().filter(About::cut).count()),
                      found(of, Comparator.naturalOrder()),
                      found(of, Comparator.reverseOrder()))));
        });
    return new Report.Table(
        "Sizes",
        List.of("size", "pictures", "of these cut", "smallest found", "largest found"),
        rows,
        options.buckets() == 0
            ? "All pictures have one size."
            : "A batch holds pictures of one size; where a size has fewer than a batch has room for, they stand in it more than once.");
  }

  private static String found(List<About> pictures, Comparator<Integer> order) {
    return pictures.stream()
        .map(About::found)
        .min(Comparator.comparing(size -> size.width() * size.height(), order))
        .map(Object::toString)
        .orElse("");
  }

  private static Report.Settings leftOut(Why why, List<LeftOut> pictures) {
    Map<String, String> shown = new LinkedHashMap<>();
    pictures.stream().limit(MOST_SHOWN).forEach(l -> shown.put(l.name(), l.reason()));
    return new Report.Settings("Left out: " + why + rest(pictures.size()), shown);
  }

  private static void groups(
      List<Report.Section> sections, String title, List<List<String>> groups) {
    if (groups.isEmpty()) {
      return;
    }
    Map<String, String> shown = new LinkedHashMap<>();
    groups.stream()
        .limit(MOST_SHOWN)
        .forEach(
            group -> shown.put(group.get(0), String.join(", ", group.subList(1, group.size()))));
    sections.add(new Report.Settings(title + rest(groups.size()), shown));
  }

  private static String rest(int all) {
    return all > MOST_SHOWN ? " (%d of %,d; import.json has all)".formatted(MOST_SHOWN, all) : "";
  }

  private Report.Settings settings() {
    Map<String, String> values = new LinkedHashMap<>();
    Json.MAPPER
        .valueToTree(options)
        .properties()
        .forEach(
            setting -> {
              if (!setting.getValue().isNull()) {
                values.put(setting.getKey(), setting.getValue().asText());
              }
            });
    return new Report.Settings("Settings", values);
  }
}
