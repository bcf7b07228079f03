package org.perflow.cli;

import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Collectors;
import org.jspecify.annotations.Nullable;
import org.perflow.cli.terminal.FetchProgress;
import org.perflow.hub.CachedModel;
import org.perflow.hub.Hub;
import picocli.CommandLine.Command;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;
import picocli.CommandLine.Spec;

/** {@code perflow models}: what was fetched from the hub. */
@Command(
    name = "models",
    mixinStandardHelpOptions = true,
    usageHelpWidth = 100,
    description =
        "Fetches models from the hub ahead of their use, and shows and empties the cache, which is"
            + " that of Python's huggingface_hub.",
    commandListHeading = "%nCommands:%n",
    subcommands = {
      ModelsCommand.Listing.class,
      ModelsCommand.Fetching.class,
      ModelsCommand.Removal.class
    },
    footer = {
      "",
      "Examples:",
      "  perflow models fetch stable-diffusion-v1-5/stable-diffusion-v1-5 --variant fp16",
      "  perflow models list",
      "  perflow models rm stable-diffusion-v1-5/stable-diffusion-v1-5",
      "",
      "HF_HOME or HF_HUB_CACHE say where the cache is, HF_TOKEN who asks, HF_ENDPOINT which mirror,",
      "and HF_HUB_OFFLINE=1 that no connection may be made."
    })
final class ModelsCommand implements Runnable {
  @Spec private CommandSpec spec;

  @Override
  public void run() {
    spec.commandLine().usage(spec.commandLine().getOut());
  }

  /** {@code perflow models list}. */
  @Command(
      name = "list",
      description = "Says what the cache holds: sizes, revisions, and what is incomplete.",
      footer = {"", "Example:", "  perflow models list --json"})
  static final class Listing extends Verb {
    private record Contents(String cache, long bytes, List<CachedModel> models) {}

    @Override
    void run() throws Exception {
      Hub hub = Hub.ofEnvironment();
      List<CachedModel> models = hub.cached();
      long bytes = models.stream().mapToLong(CachedModel::bytes).sum();
      List<String> lines = new ArrayList<>();
      for (CachedModel model : models) {
        lines.add("%10s  %s".formatted(megabytes(model.bytes()), model.repository()));
        for (CachedModel.Revision revision : model.revisions()) {
          lines.add(
              "%10s    %.12s %s%d files"
                  .formatted(
                      megabytes(revision.bytes()),
                      revision.commit(),
                      revision.names().stream()
                          .map(name -> name + ", ")
                          .collect(Collectors.joining()),
                      revision.files()));
        }
        model.incomplete().forEach(file -> lines.add("%10s    %s".formatted("incomplete", file)));
      }
      lines.add("%10s  in %s".formatted(megabytes(bytes), hub.settings().cache()));
      report(
          new Contents(hub.settings().cache().toString(), bytes, models),
          String.join(System.lineSeparator(), lines));
    }
  }

  private static String megabytes(long bytes) {
    return "%,.1f MB".formatted(bytes / 1e6);
  }

  /** {@code perflow models fetch}. */
  @Command(
      name = "fetch",
      description =
          "Fetches what is needed of models: of a pipeline the parts that draw, of each its settings"
              + " and weights, once; safetensors before pickles. Prints where they lie.",
      footer = {
        "",
        "Examples:",
        "  perflow models fetch stabilityai/sdxl-turbo --variant fp16",
        "  perflow models fetch stabilityai/sdxl-turbo@main:unet some-org/loras:style.safetensors"
      })
  static final class Fetching extends Verb {
    @Parameters(
        paramLabel = "NAME",
        arity = "1..*",
        description = "ORG/NAME[@REVISION][:PATH]: of a repository, or a folder or file in it.")
    List<String> names;

    @Option(
        names = "--variant",
        paramLabel = "NAME",
        description =
            "Weights to prefer, such as fp16. What was fetched so is used from then on, as long as"
                + " nobody fetches the others.")
    @Nullable String variant;

    private record Fetched(String name, String path) {}

    @Override
    void run() throws Exception {
      List<Fetched> fetched = new ArrayList<>();
      for (String name : names) {
        fetched.add(new Fetched(name, fetch(name, variant).toString()));
      }
      report(
          fetched,
          fetched.stream().map(Fetched::path).collect(Collectors.joining(System.lineSeparator())));
    }

    private Path fetch(String name, @Nullable String weights) throws Exception {
      try (FetchProgress progress = new FetchProgress(err())) {
        Hub hub = Hub.ofEnvironment().withListener(progress);
        return (weights == null ? hub : hub.withVariant(weights)).resolve(name);
      }
    }
  }

  /** {@code perflow models rm}. */
  @Command(
      name = "rm",
      description =
          "Removes models from the cache without asking, and says what it removed. With @REVISION"
              + " only that revision, and what no other one needs.",
      footer = {
        "",
        "Examples:",
        "  perflow models rm stabilityai/sdxl-turbo",
        "  perflow models rm stabilityai/sdxl-turbo@refs/pr/1"
      })
  static final class Removal extends Verb {
    @Parameters(
        paramLabel = "NAME",
        arity = "1..*",
        description =
            "ORG/NAME or ORG/NAME@REVISION, a branch, a tag or the beginning of a commit.")
    List<String> names;

    @Override
    void run() throws Exception {
      Hub hub = Hub.ofEnvironment();
      List<String> removed = new ArrayList<>();
      for (String name : names) {
        removed.addAll(hub.remove(name));
      }
      report(
          removed,
          removed.stream()
              .map("removed "::concat)
              .collect(Collectors.joining(System.lineSeparator())));
    }
  }
}
