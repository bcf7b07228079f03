package org.perflow.evaluate;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HashSet;
import java.util.List;
import java.util.Locale;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.Recommended;
import org.perflow.flow.sampler.Schedulers;
import org.perflow.models.DiffusionModel;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.Compute;
import org.perflow.tensor.Device;

/**
 * A model folder that takes part in an evaluation, and how it is drawn with.
 *
 * @param role what it is there for
 * @param name in tables
 * @param folder diffusers folder or single file
 * @param sampler one of {@link SchedulerConfig#NAMES}; null for what suits the role
 */
record Entrant(Role role, String name, Path folder, @Nullable String sampler) {
  /** What a model is there for. */
  enum Role {
    /** Drawn with by DDIM, whatever its folder says. */
    TEACHER,
    /** Drawn with as its folder says, and by PeRFlow where that is no student's. */
    STUDENT,
    /** Drawn with as its folder says. */
    MODEL
  }

  /** What is there for {@code role}, nameless until {@link #named} sees it beside the others. */
  static Entrant of(Role role, Path folder, @Nullable String sampler) {
    return new Entrant(role, "", folder, sampler);
  }

  /** The same by names that tell each from the others of its role. */
  static List<Entrant> named(List<Entrant> entrants) {
    List<Entrant> named = new ArrayList<>();
    for (Entrant entrant : entrants) {
      List<Entrant> alike = entrants.stream().filter(other -> other.role == entrant.role).toList();
      List<String> names = namesOf(alike.stream().map(Entrant::folder).toList());
      String own = names.get(alike.indexOf(entrant));
      String name =
          switch (entrant.role) {
            case TEACHER -> alike.size() == 1 ? "Teacher" : "Teacher " + own;
            case STUDENT -> alike.size() == 1 ? "Student" : "Student " + own;
            case MODEL -> own;
          };
      named.add(new Entrant(entrant.role, name, entrant.folder, entrant.sampler));
    }
    return named;
  }

  /** The ends of paths, as short as tells apart what is not the same: "a/student", "b/student". */
  static List<String> namesOf(List<Path> folders) {
    List<Path> whole = folders.stream().map(path -> path.toAbsolutePath().normalize()).toList();
    int longest = whole.stream().mapToInt(Path::getNameCount).max().orElse(0);
    int different = new HashSet<>(whole).size();
    for (int parts = 1; ; parts++) {
      int most = parts;
      List<String> names = whole.stream().map(path -> end(path, most)).toList();
      if (parts >= longest || new HashSet<>(names).size() == different) {
        return names;
      }
    }
  }

  private static String end(Path path, int parts) {
    int count = path.getNameCount();
    return count == 0
        ? path.toString()
        : path.subpath(Math.max(0, count - parts), count).toString();
  }

  /** As the report's settings have it. */
  String setting() {
    return role == Role.MODEL
        ? "model " + name
        : name.substring(0, 1).toLowerCase(Locale.ROOT) + name.substring(1);
  }

  /** With its weights, as {@link Compute#weights} says. The caller closes it. */
  Loaded load(Compute compute, Device device) throws IOException {
    return new Loaded(this, DiffusionModel.load(folder, compute.weights(device), device).pack());
  }

  /** An entrant with its weights in memory. */
  record Loaded(Entrant entrant, DiffusionModel model) implements AutoCloseable {
    private ObjectNode config() {
      return model.schedulerConfig();
    }

    /** Whether it draws in few steps, under guidance of its own. */
    boolean isStudent() {
      return entrant.role == Role.STUDENT
          || entrant.role == Role.MODEL && SchedulerConfig.isStudents(config());
    }

    Recommended recommended() {
      return Recommended.of(config());
    }

    /** This model in so many steps. */
    SampledModel sampled(int steps, double guidance) {
      return new SampledModel(label(), model, scheduler(), steps, guidance);
    }

    private String scheduler() {
      if (entrant.sampler != null) {
        return entrant.sampler;
      }
      return switch (entrant.role) {
        case TEACHER -> "ddim";
        case STUDENT -> SchedulerConfig.isStudents(config()) ? SampledModel.OWN : "perflow";
        case MODEL -> SampledModel.OWN;
      };
    }

    /** Names the sampler by its class, as "DDIM"; one that has no class of its own as asked for. */
    private String label() {
      String asked = scheduler();
      boolean own = asked.equals(SampledModel.OWN);
      ObjectNode config = own ? config() : Schedulers.config(asked, config());
      String type = SchedulerConfig.of(config).type().replaceFirst("Scheduler$", "");
      return entrant.name + ", " + (own || asked.equalsIgnoreCase(type) ? type : asked);
    }

    @Override
    public void close() {
      model.close();
    }
  }
}
