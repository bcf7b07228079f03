package org.perflow.importing;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.awt.Color;
import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.importing.LeftOut.Why;
import org.perflow.io.FormatException;
import org.perflow.io.Images;
import org.perflow.io.Sample;
import org.perflow.io.ShardReader;
import org.perflow.io.Shards;
import org.perflow.models.DiffusionModel;
import org.perflow.train.Golden;
import org.perflow.train.Origin;

class DataImportTest {
  private static final ImportOptions SMALL = ImportOptions.DEFAULTS.withSize(32).withHeldOut(0);

  @TempDir private Path temp;

  private Path out() {
    return temp.resolve("out");
  }

  private PhotoFolder photos() {
    return new PhotoFolder(temp.resolve("photos"));
  }

  private Imported run(ImportOptions options) throws IOException {
    return DataImport.of(photos().path()).options(options).out(out()).run();
  }

  private Map<String, Sample> samples() throws IOException {
    Map<String, Sample> samples = new HashMap<>();
    for (Sample sample : ShardReader.readAll(Shards.train(List.of(out())))) {
      samples.put(sample.json().path("source").asText(), sample);
    }
    return samples;
  }

  private static int pixel(Sample sample, int x, int y) throws IOException {
    return Images.decode(sample.picture(), sample.key()).getRGB(x, y) & 0xFFFFFF;
  }

  @Test
  void takesRealFilesOfAllKinds() throws IOException {
    BufferedImage clear = new BufferedImage(40, 40, BufferedImage.TYPE_INT_ARGB);
    Graphics2D graphics = clear.createGraphics();
    graphics.setColor(Color.RED);
    graphics.fillRect(0, 0, 40, 20);
    graphics.dispose();
    photos()
        .put("turned.jpg", PhotoFolder.turned(halves(80, 40), 6))
        .put("turned.txt", "red above blue")
        .put("deep/er/alpha", "png", clear, "red above nothing")
        .put("stripes.webp", Files.readAllBytes(PhotoFolder.RESOURCES.resolve("stripes.webp")))
        .put("stripes.caption", "\uFEFF stripes\n of a WebP \n")
        .put("grey", "bmp", halves(33, 64), "a bitmap")
        .put("still", "gif", halves(64, 33), "a gif")
        .put("print", "tiff", halves(50, 50), "a print");
    Imported imported = run(SMALL.withBackground("#00ff00").withEnlarge(true));
    Map<String, Sample> samples = samples();
    assertThat(imported.leftOut()).isEmpty();
    assertThat(imported.train()).isEqualTo(6);
    assertThat(samples)
        .containsOnlyKeys(
            "photos/turned.jpg",
            "photos/deep/er/alpha.png",
            "photos/stripes.webp",
            "photos/grey.bmp",
            "photos/still.gif",
            "photos/print.tiff");
    Sample turned = samples.get("photos/turned.jpg");
    assertThat(near(pixel(turned, 16, 2), 0xFF0000)).isTrue();
    assertThat(near(pixel(turned, 16, 29), 0x0000FF)).isTrue();
    assertThat(Origin.of(turned, 32, 32)).isEqualTo(new Origin(80, 40, 16, 0, 1));
    Sample alpha = samples.get("photos/deep/er/alpha.png");
    assertThat(pixel(alpha, 16, 2)).isEqualTo(0xFF0000);
    assertThat(pixel(alpha, 16, 29)).isEqualTo(0x00FF00);
    assertThat(samples.get("photos/stripes.webp").caption()).isEqualTo("stripes of a WebP");
    for (Sample sample : samples.values()) {
      BufferedImage picture = Images.decode(sample.picture(), sample.key());
      assertThat(picture.getWidth()).isEqualTo(32);
      assertThat(picture.getHeight()).isEqualTo(32);
    }
  }

  private static BufferedImage halves(int width, int height) {
    return PhotoFolder.halves(width, height, Color.RED, Color.BLUE);
  }

  /** JPEG is not exact. */
  private static boolean near(int pixel, int wanted) {
    return Arrays.stream(new int[] {16, 8, 0})
        .allMatch(shift -> Math.abs((pixel >> shift & 0xFF) - (wanted >> shift & 0xFF)) < 8);
  }

  @Test
  void tellsWhatItLeavesOutByNameAndReason() throws IOException {
    byte[] whole = PhotoFolder.encoded(PhotoFolder.picture(64, 64, 1), "jpeg");
    photos()
        .put("good", "jpg", PhotoFolder.picture(64, 64, 2), "a good one")
        .put("broken.jpg", Arrays.copyOf(whole, whole.length / 2))
        .put("broken.txt", "a broken one")
        .put("text.png", "no picture")
        .put("text.txt", "text")
        .put("phone.HEIC", "\0\0\0\u0018ftypheic")
        .put("phone.txt", "a phone's")
        .put("small", "png", PhotoFolder.picture(31, 64, 3), "too small")
        .put("silent.jpg", whole)
        .put("empty.jpg", whole)
        .put("empty.txt", " \n")
        .put(".hidden.jpg", "x")
        .put(".trash/x.jpg", whole)
        .put("__MACOSX/y.jpg", whole)
        .put("notes.md", "no picture, and none by name");
    Files.createSymbolicLink(
        photos().path().resolve("elsewhere"), Files.createDirectory(temp.resolve("elsewhere")));
    Imported imported = run(SMALL);
    assertThat(imported.train()).isEqualTo(1);
    Map<String, String> reasons =
        imported.leftOut().stream().collect(Collectors.toMap(LeftOut::name, LeftOut::reason));
    assertThat(reasons)
        .containsOnlyKeys(
            "photos/broken.jpg",
            "photos/text.png",
            "photos/phone.HEIC",
            "photos/small.png",
            "photos/silent.jpg",
            "photos/empty.jpg",
            "photos/elsewhere");
    assertThat(reasons.get("photos/broken.jpg")).contains("cut off");
    assertThat(reasons.get("photos/text.png")).startsWith("no picture");
    assertThat(reasons.get("photos/phone.HEIC")).contains("HEIC is not read");
    assertThat(reasons.get("photos/small.png")).startsWith("31x64 pixels, 32x32 are needed");
    assertThat(reasons.get("photos/silent.jpg")).contains("nothing says what it shows");
    assertThat(reasons.get("photos/empty.jpg")).contains("empty");
    assertThat(reasons.get("photos/elsewhere")).contains("is a link that leaves");
    assertThat(imported.reasons())
        .isEqualTo(Map.of(Why.UNREADABLE, 4L, Why.NO_CAPTION, 2L, Why.TOO_SMALL, 1L));
    String report = Files.readString(out().resolve("report.md"));
    reasons.forEach((name, reason) -> assertThat(report).contains("* " + name + ": " + reason));
    assertThat(Files.readString(out().resolve("report.html"))).contains("HEIC is not read");
  }

  @Test
  void aStrictImportEndsAtTheFirst() throws IOException {
    photos().fill(3, 40, 40).put("p001.jpg", "no picture");
    assertThatThrownBy(() -> run(SMALL.withStrict(true)))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("photos/p001.jpg: no picture");
    assertThat(run(SMALL.withStrict(false)).train()).isEqualTo(2);
  }

  @Test
  void saysWhyThereIsNothingToTake() throws IOException {
    photos().put("silent.jpg", PhotoFolder.encoded(PhotoFolder.picture(64, 64, 1), "jpeg"));
    assertThatThrownBy(() -> run(SMALL))
        .isInstanceOf(FormatException.class)
        .hasMessageContaining("none of 1 pictures can be taken: photos/silent.jpg")
        .hasMessageContaining("--captions filename");
    Files.delete(photos().path().resolve("silent.jpg"));
    assertThatThrownBy(() -> run(SMALL)).hasMessageContaining("no pictures in there");
  }

  @Test
  void makesTheSameShardsAgain() throws IOException {
    photos().fill(9, 60, 40);
    ImportOptions options = SMALL.withCrop(ImportOptions.Crop.RANDOM).withShardSize(4);
    run(options);
    Path again = temp.resolve("again");
    DataImport.of(photos().path()).options(options).out(again).run();
    assertThat(Shards.train(List.of(again))).hasSize(3);
    for (Path shard : Shards.train(List.of(again))) {
      assertThat(shard).hasSameBinaryContentAs(out().resolve(shard.getFileName()));
    }
  }

  @Test
  void goesOnWhereItWasCutOff() throws IOException {
    photos().fill(9, 60, 40);
    ImportOptions options = SMALL.withShardSize(3);
    ImportListener kills =
        new ImportListener() {
          @Override
          public void onProgress(int done) {
            if (done == 5) {
              throw new IllegalStateException("killed");
            }
          }
        };
    DataImport all = DataImport.of(photos().path()).options(options).out(out());
    assertThatThrownBy(() -> all.run(kills)).hasMessage("killed");
    Path first = out().resolve("train-0000.tar");
    Object written = Files.getAttribute(first, "lastModifiedTime");
    assertThat(out().resolve("train-0001.tar")).doesNotExist();
    Path left = Files.writeString(out().resolve(".train-0001.tar.1.tmp"), "of a killed process");

    Imported imported = all.run();

    assertThat(imported.train()).isEqualTo(9);
    assertThat(Files.getAttribute(first, "lastModifiedTime")).isEqualTo(written);
    assertThat(left).doesNotExist();
    Path atOnce = temp.resolve("at-once");
    Imported same = DataImport.of(photos().path()).options(options).out(atOnce).run();
    assertThat(same).isEqualTo(imported);
    for (Path shard : Shards.train(List.of(atOnce))) {
      assertThat(shard).hasSameBinaryContentAs(out().resolve(shard.getFileName()));
    }
    assertThat(out().resolve("report.html")).hasSameBinaryContentAs(atOnce.resolve("report.html"));
  }

  @Test
  void findsAFinishedOneAndRefusesAnother() throws IOException {
    photos().fill(2, 60, 40);
    Imported imported = run(SMALL);
    StringBuilder notes = new StringBuilder();
    ImportListener listener =
        new ImportListener() {
          @Override
          public void onNote(String note) {
            notes.append(note);
          }
        };
    DataImport same = DataImport.of(photos().path()).options(SMALL).out(out());
    assertThat(same.run(listener)).isEqualTo(imported);
    assertThat(notes.toString()).contains("holds this import already");
    assertThatThrownBy(() -> run(SMALL.withSize(40)))
        .isInstanceOf(IllegalArgumentException.class)
        .hasMessageContaining("size was 32, is 40");
    photos().put("p000.txt", "told otherwise");
    assertThatThrownBy(() -> run(SMALL)).hasMessageContaining("have changed since");
    Path theirs = Files.createDirectory(temp.resolve("theirs"));
    Files.createFile(theirs.resolve("train-0000.tar"));
    assertThatThrownBy(() -> same.out(theirs).run()).hasMessageContaining("no import made");
  }

  @Test
  void holdsOutWholeCaptions() throws IOException {
    PhotoFolder photos = photos().fill(20, 40, 40);
    for (int i = 0; i < 20; i++) {
      photos.put("p%03d.txt".formatted(i), "picture " + i / 2);
    }
    Imported imported = run(SMALL.withHeldOut(0.2));
    assertThat(imported.heldOut()).isEqualTo(4);
    assertThat(imported.train()).isEqualTo(16);
    Set<String> test = captions(ShardReader.readAll(Shards.test(List.of(out()))));
    assertThat(test)
        .hasSize(2)
        .doesNotContainAnyElementsOf(captions(List.copyOf(samples().values())));
  }

  private static Set<String> captions(List<Sample> samples) {
    return samples.stream().map(Sample::caption).collect(Collectors.toSet());
  }

  @Test
  void neverHoldsOutTheOnlyCaption() throws IOException {
    photos().fill(10, 40, 40);
    Imported imported = run(SMALL.withHeldOut(0.5).withCaption("a photo of sks dog"));
    assertThat(imported.train()).isEqualTo(10);
    assertThat(imported.heldOut()).isZero();
  }

  @Test
  void findsPicturesThatAreThereTwice() throws IOException {
    BufferedImage picture = PhotoFolder.picture(120, 90, 1);
    photos()
        .put("a", "png", picture, "first")
        .put("b", "png", picture, "again")
        .put("c", "jpg", Images.resize(picture, 80, 60), "smaller and squeezed")
        .put("d", "png", PhotoFolder.picture(120, 90, 2), "another");
    Imported imported = run(SMALL);
    assertThat(imported.duplicates()).containsExactly(List.of("photos/a.png", "photos/b.png"));
    assertThat(imported.nearDuplicates()).containsExactly(List.of("photos/a.png", "photos/c.jpg"));
  }

  @Test
  void countsTokensAsClipDoes() throws IOException {
    photos()
        .put("a", "png", PhotoFolder.picture(40, 40, 1), "red apple")
        .put("b", "png", PhotoFolder.picture(40, 40, 2), "apple ".repeat(75))
        .put("c", "png", PhotoFolder.picture(40, 40, 3), "apple ".repeat(76));
    Imported.CaptionLengths lengths = run(SMALL).captions();
    assertThat(lengths).isEqualTo(new Imported.CaptionLengths(75, 76, 75, 1));
  }

  @Test
  void trainingTakesAFolderOfPicturesThroughACache() throws IOException {
    photos().fill(3, 90, 70);
    Path shards = Files.createDirectory(temp.resolve("shards"));
    Files.createFile(shards.resolve("train-0000.tar"));
    Path cache = temp.resolve("cache");
    List<Path> named = List.of(shards, photos().path());
    List<Path> data = DataImport.shards(Golden.FOLDER, named, cache);
    assertThat(data.get(0)).isEqualTo(shards);
    assertThat(data.get(1)).startsWith(cache);
    List<Sample> samples = ShardReader.readAll(Shards.train(data.subList(1, 2)));
    assertThat(samples).hasSize(3);
    int side = DiffusionModel.pixels(Golden.FOLDER);
    assertThat(Images.decode(samples.get(0).picture(), "one").getWidth()).isEqualTo(side);
    assertThat(DataImport.shards(Golden.FOLDER, named, cache)).isEqualTo(data);
    photos().put("p000.txt", "told otherwise");
    assertThat(DataImport.shards(Golden.FOLDER, named, cache)).doesNotContain(data.get(1));
  }

  @Test
  void aWeightIsKeptWithEachPicture() throws IOException {
    photos().fill(2, 40, 40);
    Path others = temp.resolve("others");
    new PhotoFolder(others).fill(1, 40, 40);
    DataImport.of(photos().path()).and(others, 3).options(SMALL).out(out()).run();
    Map<String, Sample> samples = samples();
    assertThat(Origin.of(samples.get("others/p000.jpg"), 32, 32).repeats()).isEqualTo(3);
    assertThat(Origin.of(samples.get("photos/p000.jpg"), 32, 32).repeats()).isEqualTo(1);
  }
}
