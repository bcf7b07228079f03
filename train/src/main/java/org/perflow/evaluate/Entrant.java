package org.perflow.evaluate;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import org.jspecify.annotations.Nullable;
import org.perflow.flow.Recommended;
import org.perflow.flow.sampler.Schedulers;
import org.perflow.models.DiffusionModel;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.DType;

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

  /** With its weights. The caller closes it. */
  Loaded load() throws IOException {
    return new Loaded(this, DiffusionModel.load(folder, DType.F32));
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
