package org.perflow.cli;

import java.awt.Color;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.perflow.hub.Hub;
import org.perflow.io.Images;
import org.perflow.models.ControlNetModel;
import org.perflow.pipeline.Control;
import org.perflow.pipeline.Request;
import org.perflow.tensor.DType;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Option;

/** What a picture is drawn from besides text: a picture, a mask, ControlNets. */
final class PictureOptions {
  @Option(
      names = "--image",
      paramLabel = "FILE",
      description = "Picture to start from (image to image); stretched to --width and --height.")
  @Nullable Path image;

  @Option(
      names = "--strength",
      paramLabel = "X",
      description =
          "Part of the steps that --image is drawn anew in: 0.3 changes little, 1 all (default:"
              + " 0.75, with a mask 1).")
  @Nullable Double strength;

  @Option(
      names = "--mask",
      paramLabel = "FILE",
      description =
          "Draw --image anew only where this picture is white (inpainting); transparent is kept.")
  @Nullable Path mask;

  @ArgGroup(exclusive = false, multiplicity = "0..*")
  List<ControlOptions> controls = new ArrayList<>();

  /** One ControlNet. */
  static final class ControlOptions {
    @Option(
        names = "--controlnet",
        required = true,
        paramLabel = "MODEL",
        description = "ControlNet folder; may be given several times, each with its own options.")
    String net;

    private @Nullable Path folder;

    @Option(
        names = "--control-image",
        paramLabel = "FILE",
        description = "Picture that the ControlNet follows (default: --image).")
    @Nullable Path picture;

    @Option(
        names = "--control-scale",
        paramLabel = "X",
        description = "How much the ControlNet adds (default: 1).")
    double scale = 1;

    @Option(
        names = "--control-start",
        paramLabel = "X",
        description = "Part of the run from which it takes part, 0 to 1 (default: 0).")
    double start;

    @Option(
        names = "--control-end",
        paramLabel = "X",
        description = "Part of the run up to which it takes part, 0 to 1 (default: 1).")
    double end = 1;

    private @Nullable BufferedImage followed;
  }

  /** {@code request} with the pictures that were named; those of the ControlNets are kept. */
  Request read(Request request) throws IOException {
    if (image == null && (strength != null || mask != null)) {
      throw new IllegalArgumentException(
          (strength != null ? "--strength" : "--mask") + " needs --image, the picture it is for");
    }
    BufferedImage start = image == null ? null : Images.read(image);
    for (ControlOptions control : controls) {
      Control.check(control.scale, control.start, control.end);
      control.followed = picture(control, start);
    }
    Request full = request;
    if (start != null) {
      double usual = mask == null ? 0.75 : 1;
      full = full.withImage(start, strength == null ? usual : strength);
    }
    return mask == null ? full : full.withMask(Images.read(mask, Color.BLACK));
  }

  /** Finds the folder of what is named, as {@link Verb#fetch(String)}. */
  @FunctionalInterface
  interface Fetching {
    Path fetch(String named) throws IOException;
  }

  /** Finds the ControlNets, before any model is loaded. */
  void fetchNets(Fetching fetching) throws IOException {
    for (ControlOptions control : controls) {
      control.folder = fetching.fetch(control.net);
      requireFolder(control.folder);
    }
  }

  /** Loads them, in order. The caller closes them. */
  List<ControlNetModel> loadNets(DType type) throws IOException {
    List<ControlNetModel> nets = new ArrayList<>();
    for (ControlOptions control : controls) {
      try {
        nets.add(loadNet(Objects.requireNonNull(control.folder, "fetched before"), type));
      } catch (IOException | RuntimeException e) {
        nets.forEach(ControlNetModel::close);
        throw e;
      }
    }
    return nets;
  }

  static ControlNetModel loadNet(Path folder, DType type) throws IOException {
    requireFolder(folder);
    return ControlNetModel.load(folder, type);
  }

  private static void requireFolder(Path folder) throws IOException {
    if (!Files.isDirectory(folder)) {
      throw new NoSuchFileException(folder.toString(), null, "there is no such ControlNet folder");
    }
  }

  /** {@code nets} with the pictures that they follow. */
  Control[] bound(List<ControlNetModel> nets) {
    Control[] bound = new Control[nets.size()];
    for (int i = 0; i < bound.length; i++) {
      ControlOptions control = controls.get(i);
      bound[i] =
          new Control(
              nets.get(i),
              Objects.requireNonNull(control.followed, "read before"),
              control.scale,
              control.start,
              control.end);
    }
    return bound;
  }

  /** The ControlNets in words: which, what they follow and how. */
  String describeControls() {
    return controls.stream()
        .map(
            control ->
                "%s (%s, scale %s, %s to %s)"
                    .formatted(
                        Hub.nameOf(Objects.requireNonNull(control.folder, "loaded before")),
                        (control.picture == null ? image : control.picture).getFileName(),
                        control.scale,
                        control.start,
                        control.end))
        .collect(Collectors.joining("; "));
  }

  private static BufferedImage picture(ControlOptions control, @Nullable BufferedImage start)
      throws IOException {
    if (control.picture != null) {
      return Images.read(control.picture, Color.BLACK);
    }
    if (start == null) {
      throw new IllegalArgumentException(
          "--controlnet " + control.net + " needs --control-image, the picture it follows");
    }
    return start;
  }
}
