package org.perflow.importing;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import java.util.stream.Stream;
import org.jspecify.annotations.Nullable;
import org.perflow.importing.LeftOut.Why;
import org.perflow.io.FormatException;
import org.perflow.io.Inside;

/**
 * A folder of pictures with all folders in it. Hidden files and folders are passed over, and links
 * that leave the folder are told and not followed.
 */
final class FolderSource implements Source {
  /** Endings of what is taken for a picture; what it is its bytes say. */
  private static final Set<String> PICTURES =
      Set.of("jpg", "jpeg", "jfif", "png", "webp", "gif", "bmp", "tif", "tiff");

  /** Pictures, too, which are not read: that is told of each. */
  private static final Set<String> OTHERS = Set.of("heic", "heif", "avif", "jxl", "jp2", "psd");

  private final Path folder;
  private final int repeats;
  private final ImportOptions options;

  /** What a walk through the folder found. */
  private record Found(List<Path> pictures, List<Path> metadata) {}

  FolderSource(Path folder, int repeats, ImportOptions options) {
    this.folder = folder;
    this.repeats = repeats;
    this.options = options;
  }

  /** Whether that folder holds a picture, itself or in a folder of its. */
  static boolean hasPictures(Path folder) throws IOException {
    Listing ignored = new Listing();
    FolderSource source = new FolderSource(folder, 1, ImportOptions.DEFAULTS);
    return !source.walk(ignored).pictures().isEmpty();
  }

  @Override
  public String name() {
    Path name = folder.toAbsolutePath().normalize().getFileName();
    return name == null ? "/" : name.toString();
  }

  @Override
  public void list(Listing listing) throws IOException {
    Found found = walk(listing);
    FolderCaptions captions = FolderCaptions.read(found.metadata(), options, this::named, listing);
    for (Path picture : found.pictures()) {
      String name = named(picture);
      try {
        String caption = caption(captions, picture);
        if (caption == null) {
          listing.leaveOut(
              name,
              Why.NO_CAPTION,
              "nothing says what it shows: no .txt or .caption beside it, and no metadata.jsonl,"
                  + " metadata.csv or captions.json that names it");
        } else {
          listing.add(
              new Entry(name, caption, repeats, stamp(picture), () -> Files.readAllBytes(picture)));
        }
      } catch (FormatException e) {
        listing.leaveOut(name, Why.NO_CAPTION, e.getMessage());
      } catch (IOException e) {
        listing.leaveOut(name, Why.UNREADABLE, e.toString());
      }
    }
    captions
        .unused()
        .forEach(
            (file, where) ->
                listing.leaveOut(named(file), Why.UNREADABLE, "not there, but named in " + where));
  }

  private @Nullable String caption(FolderCaptions captions, Path picture) throws IOException {
    if (options.caption() != null) {
      return options.caption();
    }
    if (options.captions() == ImportOptions.Captions.FILENAME) {
      return fromName(picture);
    }
    return captions.of(picture);
  }

  /** "red_apple.jpg" shows a red apple. */
  static String fromName(Path picture) {
    return FolderCaptions.stem(picture).replace('_', ' ').strip().replaceAll("\\s+", " ");
  }

  static String stamp(Path file) throws IOException {
    return Files.size(file) + " " + Files.getLastModifiedTime(file).toMillis();
  }

  private String named(Path path) {
    Path there = path.startsWith(folder) ? folder.relativize(path) : path;
    return name() + "/" + there.toString().replace('\\', '/');
  }

  private Found walk(Listing listing) throws IOException {
    Found found = new Found(new ArrayList<>(), new ArrayList<>());
    walk(folder, new ArrayDeque<>(), found, listing);
    return found;
  }

  private void walk(Path at, Deque<Path> around, Found found, Listing listing) throws IOException {
    around.push(at.toRealPath());
    List<Path> content;
    try (Stream<Path> files = Files.list(at)) {
      content = files.sorted().toList();
    }
    for (Path path : content) {
      String name = path.getFileName().toString();
      if (name.startsWith(".") || name.equals("__MACOSX")) {
        continue;
      }
      try {
        if (Files.isSymbolicLink(path)) {
          Inside.of(folder, path);
        }
        if (!Files.isDirectory(path)) {
          sort(path, name, found);
        } else if (around.contains(path.toRealPath())) {
          throw new FormatException(path + " is a link that goes in a circle");
        } else {
          walk(path, around, found, listing);
        }
      } catch (FormatException e) {
        listing.leaveOut(named(path), Why.UNREADABLE, e.getMessage());
      }
    }
    around.pop();
  }

  private static void sort(Path path, String name, Found found) {
    String ending = name.substring(name.lastIndexOf('.') + 1).toLowerCase(Locale.ROOT);
    if (PICTURES.contains(ending) || OTHERS.contains(ending)) {
      found.pictures.add(path);
    } else if (FolderCaptions.FILES.contains(name)) {
      found.metadata.add(path);
    }
  }
}
