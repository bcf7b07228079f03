package org.perflow.hub;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Objects;
import java.util.Optional;
import org.jspecify.annotations.Nullable;
import org.perflow.hub.HubException.Kind;
import org.perflow.io.Suggestions;

/**
 * Models by name. A name is a path of this machine or, where there is no such path, one of the hub:
 * {@code org/name[@revision][:subfolder-or-file]}. What is needed of it is fetched to the cache
 * that Python's huggingface_hub has and found there the next time; what Python fetched is found as
 * well.
 *
 * <pre>{@code
 * Path folder = Hub.fetch("stable-diffusion-v1-5/stable-diffusion-v1-5");
 * Path style = Hub.fetch("some-org/some-loras:style.safetensors");
 * Path half = Hub.ofEnvironment().withVariant("fp16").resolve("stabilityai/sdxl-turbo@main");
 * }</pre>
 *
 * <p>Environment variables say where hub and cache are, as in Python ({@link HubSettings}).
 * Immutable, thread-safe; several threads and processes may fetch the same at once.
 */
public final class Hub {
  private final HubSettings settings;
  private final Transfer transfer;
  private final @Nullable String variant;
  private final FetchListener listener;

  private Hub(
      HubSettings settings, Transfer transfer, @Nullable String variant, FetchListener listener) {
    this.settings = settings;
    this.transfer = transfer;
    this.variant = variant;
    this.listener = listener;
  }

  /** With these settings. */
  public static Hub of(HubSettings settings) {
    return new Hub(settings, Transfer.DEFAULTS, null, FetchListener.SILENT);
  }

  /** With the settings of {@link HubSettings#ofEnvironment}. */
  public static Hub ofEnvironment() throws IOException {
    return of(HubSettings.ofEnvironment());
  }

  /** What {@link #resolve} says with the settings of the environment, in silence. */
  public static Path fetch(String named) throws IOException {
    return ofEnvironment().resolve(named);
  }

  /**
   * Prefers weights of a variant, such as {@code fp16}; parts that lack it have their plain ones.
   */
  public Hub withVariant(String name) {
    return new Hub(settings, transfer, name, listener);
  }

  /** Tells {@code told} how far it is. */
  public Hub withListener(FetchListener told) {
    return new Hub(settings, transfer, variant, told);
  }

  Hub with(Transfer how) {
    return new Hub(settings, how, variant, listener);
  }

  /** Where hub and cache are. */
  public HubSettings settings() {
    return settings;
  }

  /**
   * The file or folder that {@code named} is: a path that exists stays as it is, a name of the hub
   * is fetched, as far as it is not in the cache. A path of another form that does not exist is
   * returned, too, for whoever reads it to say what is missing.
   *
   * @throws HubException saying why it could not be had, and what to do
   */
  public Path resolve(String named) throws IOException {
    Optional<HubName> name = isHere(named) ? Optional.empty() : HubName.parse(named);
    if (name.isEmpty()) {
      return Path.of(named);
    }
    try {
      return new Fetch(settings, transfer, name.get(), variant, listener).run();
    } catch (HubException e) {
      if (!name.get().repository().equals(named) || e.kind() == Kind.NO_SPACE) {
        throw e;
      }
      throw new HubException( // it may have been meant as a path
          e.kind(),
          "there is no file or folder %s here, and on the hub: ".formatted(named) + e.getMessage(),
          e);
    }
  }

  private static boolean isHere(String named) {
    try {
      return Files.exists(Path.of(named));
    } catch (InvalidPathException e) { // Windows takes no colon
      return false;
    }
  }

  /**
   * How to call a model that lies at {@code path}: {@code org/name@0123456789ab} of one that came
   * from the hub, else the name of the file or folder.
   */
  public static String nameOf(Path path) {
    return HubCache.nameOf(path)
        .orElseGet(() -> Objects.toString(path.toAbsolutePath().normalize().getFileName(), ""));
  }

  /** What the cache holds, by name. */
  public List<CachedModel> cached() throws IOException {
    return CachedModel.list(settings);
  }

  /**
   * Removes a repository from the cache, or the revision that the name says with what no other
   * revision needs.
   *
   * @return what was removed, in words
   * @throws HubException where the cache has no such thing
   * @throws IOException naming the process that is fetching it
   */
  public List<String> remove(String named) throws IOException {
    HubName name =
        HubName.parse(named)
            .filter(parsed -> parsed.path().isEmpty())
            .orElseThrow(
                () ->
                    new IllegalArgumentException(
                        "'%s' cannot be removed, expected org/name or org/name@revision"
                            .formatted(named)));
    List<String> known = new ArrayList<>();
    for (CachedModel model : cached()) {
      if (model.repository().equals(name.repository())) {
        return model.remove(settings, name);
      }
      known.add(model.repository());
    }
    throw new HubException(
        Kind.ABSENT,
        "%s is not in the cache %s%s"
            .formatted(
                named,
                settings.cache(),
                Suggestions.nearest(named, known)
                    .map(near -> "; did you mean " + near + "?")
                    .orElse("")));
  }
}
