package org.perflow.importing;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.jspecify.annotations.Nullable;
import org.perflow.importing.LeftOut.Why;
import org.perflow.io.FormatException;
import org.perflow.io.Sample;
import org.perflow.io.ShardReader;

/** WebDataset shards of others: tars of pictures with captions, under endings of their own. */
final class ShardSource implements Source {
  private static final Set<String> PICTURES =
      Set.of("png", "jpg", "jpeg", "webp", "gif", "bmp", "tif", "tiff");

  private final List<Path> tars;
  private final int repeats;
  private final ImportOptions options;
  private final ShardReader.Keys keys;
  private @Nullable Tape tape;

  ShardSource(List<Path> tars, int repeats, ImportOptions options) {
    this.tars = tars;
    this.repeats = repeats;
    this.options = options;
    String caption = options.captionKey() == null ? "txt" : options.captionKey();
    keys =
        new ShardReader.Keys(
            options.pictureKey() == null ? PICTURES : Set.of(options.pictureKey()),
            options.ownCaptions() ? caption : "");
  }

  @Override
  public String name() {
    return String.valueOf(tars.get(0).getFileName());
  }

  @Override
  public void list(Listing listing) throws IOException {
    for (Path tar : tars) {
      String stamp = FolderSource.stamp(tar);
      String file = String.valueOf(tar.getFileName());
      try (ShardReader reader = reader(tar, listing)) {
        int number = 0;
        for (var next = reader.next(); next.isPresent(); next = reader.next()) {
          Sample sample = next.get();
          String name = file + ": " + sample.key();
          String caption = caption(sample);
          int place = number++;
          if (caption.isEmpty()) {
            listing.leaveOut(name, Why.NO_CAPTION, "its caption is empty");
          } else {
            listing.add(new Entry(name, caption, repeats, stamp, () -> picture(tar, place)));
          }
        }
      }
    }
  }

  private ShardReader reader(Path tar, @Nullable Listing listing) throws IOException {
    return new ShardReader(
        tar,
        keys,
        (key, problem) -> {
          if (listing != null) {
            Why why = problem.contains("no caption") ? Why.NO_CAPTION : Why.UNREADABLE;
            listing.leaveOut(tar.getFileName() + ": " + key, why, problem);
          }
        });
  }

  private String caption(Sample sample) {
    if (options.caption() != null) {
      return options.caption();
    }
    return options.captions() == ImportOptions.Captions.FILENAME
        ? FolderSource.fromName(Path.of(sample.key()))
        : FolderCaptions.oneLine(sample.caption());
  }

  // ---------------------------------------------------------------- pictures

  /** A tar that is being read, and how many samples of it were. */
  private static final class Tape {
    private final Path tar;
    private final ShardReader reader;
    private int read;

    Tape(Path tar, ShardReader reader) {
      this.tar = tar;
      this.reader = reader;
    }
  }

  /** The picture of the sample at {@code place}: forward as long as that leads there. */
  private byte[] picture(Path tar, int place) throws IOException {
    if (tape == null || !tape.tar.equals(tar) || tape.read > place) {
      close();
      tape = new Tape(tar, reader(tar, null));
    }
    Optional<Sample> sample = tape.reader.next();
    for (tape.read++; tape.read <= place; tape.read++) {
      sample = tape.reader.next();
    }
    return sample
        .orElseThrow(() -> new FormatException(tar + " has changed while it was imported"))
        .picture();
  }

  @Override
  public void close() throws IOException {
    if (tape != null) {
      tape.reader.close();
      tape = null;
    }
  }
}
