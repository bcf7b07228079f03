package org.perflow.flow.sampler;

import com.fasterxml.jackson.databind.node.ObjectNode;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.Parameterization;
import org.perflow.flow.PredictionType;
import org.perflow.flow.TimeWindows;
import org.perflow.io.Suggestions;
import org.perflow.models.SchedulerConfig;

/**
 * Samplers from a model folder's {@code scheduler_config.json}, or by name on a model's noise
 * schedule. Class names, options and defaults are diffusers', and so are the numerics: the same
 * timesteps and, for the same network, the same states.
 *
 * <table>
 * <caption>Names</caption>
 * <tr><th>name</th><th>sampler</th><th>class in a config</th></tr>
 * <tr><td>perflow</td><td>PeRFlow's own, for PeRFlow models</td><td>PeRFlowScheduler</td></tr>
 * <tr><td>ddim</td><td>DDIM; {@code eta} 1 is ancestral</td><td>DDIMScheduler</td></tr>
 * <tr><td>ddpm</td><td>ancestral DDPM</td><td>DDPMScheduler</td></tr>
 * <tr><td>pndm</td><td>linear multistep (PLMS), N + 1 evaluations</td><td>PNDMScheduler</td></tr>
 * <tr><td>dpmpp-2m, dpmpp-3m</td><td>DPM-Solver++, multistep</td>
 *     <td>DPMSolverMultistepScheduler</td></tr>
 * <tr><td>dpmpp-2m-karras</td><td>the same with Karras levels</td><td></td></tr>
 * <tr><td>dpmpp-2m-sde, dpmpp-2m-sde-karras</td><td>its stochastic form</td><td></td></tr>
 * <tr><td>dpm-2m</td><td>DPM-Solver (on predicted noise), multistep</td><td></td></tr>
 * <tr><td>dpmpp-2s, dpmpp-3s</td><td>DPM-Solver++, singlestep</td>
 *     <td>DPMSolverSinglestepScheduler</td></tr>
 * <tr><td>deis</td><td>DEIS, log-ρ Adams-Bashforth</td><td>DEISMultistepScheduler</td></tr>
 * <tr><td>unipc</td><td>UniPC, predictor and corrector</td><td>UniPCMultistepScheduler</td></tr>
 * <tr><td>euler, euler-karras</td><td>Euler in σ</td><td>EulerDiscreteScheduler</td></tr>
 * <tr><td>euler-a</td><td>ancestral Euler</td><td>EulerAncestralDiscreteScheduler</td></tr>
 * <tr><td>heun</td><td>Heun in σ, 2N − 1 evaluations</td><td>HeunDiscreteScheduler</td></tr>
 * <tr><td>lcm</td><td>latent consistency</td><td>LCMScheduler</td></tr>
 * <tr><td>tcd</td><td>trajectory consistency, {@code eta} 0.3</td><td>TCDScheduler</td></tr>
 * <tr><td>flow-euler</td><td>Euler for flow-matching models</td>
 *     <td>FlowMatchEulerDiscreteScheduler</td></tr>
 * <tr><td></td><td>Euler for shortcut models</td><td>ShortcutScheduler</td></tr>
 * </table>
 *
 * <p>{@code eta} of ddim and tcd, an argument in diffusers, is a key of the config here. An option
 * that diffusers' class has and this library does not is refused where it is in use.
 */
public final class Schedulers {
  private Schedulers() {}

  /**
   * The sampler that {@code config} describes, for {@code steps} steps; missing keys take
   * diffusers' defaults. The caller closes it.
   *
   * @throws IllegalArgumentException on a {@code _class_name} that is not known, or settings that
   *     the sampler refuses
   */
  public static Scheduler create(ObjectNode config, int steps) {
    String type = config.path("_class_name").asText();
    SchedulerConfig known = SchedulerConfig.of(config);
    if (type.equals(SchedulerConfig.FLOW_MATCHING) || type.equals(SchedulerConfig.SHORTCUT)) {
      return new FlowEulerScheduler(known, steps);
    }
    if (type.equals(SchedulerConfig.PERFLOW)) {
      return PerflowScheduler.of(config, steps);
    }
    NoiseSchedule schedule = NoiseSchedule.of(config);
    Scheduler scheduler = diffusion(type, known, schedule, steps);
    PredictionType.of(known).requireSignal(schedule, (int) scheduler.timesteps()[0]);
    return scheduler;
  }

  private static Scheduler diffusion(
      String type, SchedulerConfig known, NoiseSchedule schedule, int steps) {
    return switch (type) {
      case "DDIMScheduler" -> new DdimScheduler(known, schedule, steps);
      case "DDPMScheduler" -> new DdpmScheduler(known, schedule, steps);
      case "PNDMScheduler" -> new PndmScheduler(known, schedule, steps);
      case "DPMSolverMultistepScheduler" -> new DpmMultistepScheduler(known, schedule, steps);
      case "DPMSolverSinglestepScheduler" -> new DpmSinglestepScheduler(known, schedule, steps);
      case "DEISMultistepScheduler" -> new DeisScheduler(known, schedule, steps);
      case "UniPCMultistepScheduler" -> new UniPcScheduler(known, schedule, steps);
      case "EulerDiscreteScheduler" -> new EulerScheduler(known, schedule, steps);
      case "EulerAncestralDiscreteScheduler" -> new EulerAncestralScheduler(known, schedule, steps);
      case "HeunDiscreteScheduler" -> new HeunScheduler(known, schedule, steps);
      case "LCMScheduler" -> new LcmScheduler(known, schedule, steps);
      case "TCDScheduler" -> new TcdScheduler(known, schedule, steps);
      default ->
          throw new IllegalArgumentException(
              Suggestions.unknown("scheduler _class_name", type, SchedulerConfig.CLASSES)
                  + " (or choose a scheduler by name: "
                  + String.join(", ", SchedulerConfig.NAMES)
                  + ")");
    };
  }

  /** The sampler of that name on the noise schedule of {@code base}. The caller closes it. */
  public static Scheduler create(String name, ObjectNode base, int steps) {
    return create(config(name, base), steps);
  }

  /**
   * The config of sampler {@code name} for a model whose own config is {@code base}, as diffusers'
   * {@code from_config}: base's keys, the name's own, and the class's defaults for the rest. Other
   * than there the noise schedule is always base's, and data is not clipped unless base says so.
   *
   * <p>An ε-teacher under "perflow" is taken as {@code ddim_eps}, which makes N = K steps exactly
   * its DDIM (and not as {@code diff_eps}, which "epsilon" means in a PeRFlow config); a {@code
   * ddim_eps} student under another name is an ε-model. Other pairs do not fit and are refused.
   *
   * @throws IllegalArgumentException on a name that is not known, or a model that it does not suit
   */
  public static ObjectNode config(String name, ObjectNode base) {
    ObjectNode wanted = SchedulerConfig.named(name);
    String type = base.path("_class_name").asText();
    String target = wanted.get("_class_name").asText();
    if (type.equals(SchedulerConfig.SHORTCUT)) {
      throw new IllegalArgumentException(
          String.format(
              "the %s scheduler does not suit a shortcut model, which must be told the length of a"
                  + " step: leave the scheduler out",
              name));
    }
    if (type.equals(SchedulerConfig.FLOW_MATCHING)
        != target.equals(SchedulerConfig.FLOW_MATCHING)) {
      throw new IllegalArgumentException(
          String.format(
              "the %s scheduler does not suit this model, whose own is %s: flow-euler is for"
                  + " flow-matching models, all others are not",
              name, type));
    }
    if (name.equals("perflow")) {
      return perflow(base);
    }
    ObjectNode config = base.deepCopy();
    if (!type.equals(target) && !target.equals(SchedulerConfig.FLOW_MATCHING)) {
      SchedulerConfig known = SchedulerConfig.of(base);
      config.put("beta_start", known.number("beta_start")); // the defaults of the classes differ
      config.put("beta_end", known.number("beta_end"));
      config.put("beta_schedule", known.text("beta_schedule"));
      if (!config.has("clip_sample")) {
        config.put("clip_sample", false); // the default of some classes clips: that is for pixels
      }
    }
    if (SchedulerConfig.isPerflow(base)) {
      asEpsilonModel(name, base, config);
    }
    config.setAll(wanted);
    return config;
  }

  private static ObjectNode perflow(ObjectNode base) {
    if (SchedulerConfig.isPerflow(base)) {
      return base;
    }
    PredictionType type = PredictionType.of(base);
    if (type != PredictionType.EPSILON) {
      throw new IllegalArgumentException(
          "the perflow scheduler needs a PeRFlow model or an epsilon model; this one predicts "
              + type.key());
    }
    return PerflowScheduler.config(
        base, new TimeWindows(4), Parameterization.DDIM_EPS, NoiseSchedule.setAlphaToOne(base));
  }

  /**
   * DDIM whose steps begin at pure noise and end where {@code base}'s do, for students of it, which
   * learn it without clipping.
   */
  public static ObjectNode trailingDdim(ObjectNode base) {
    return config("ddim", base)
        .put("timestep_spacing", "trailing")
        .put("clip_sample", false)
        .put("set_alpha_to_one", NoiseSchedule.of(base).finalAlphaBar() == 1);
  }

  private static void asEpsilonModel(String name, ObjectNode base, ObjectNode config) {
    Parameterization kind = PerflowScheduler.flow(base).parameterization();
    if (kind != Parameterization.DDIM_EPS) {
      throw new IllegalArgumentException(
          String.format(
              "the %s scheduler needs an epsilon model; this PeRFlow model predicts %s: use the"
                  + " perflow scheduler",
              name, kind.key()));
    }
    config.put("prediction_type", PredictionType.EPSILON.key());
    config.put("timestep_spacing", "trailing"); // starts at pure noise, as its windows do
    config.put("set_alpha_to_one", NoiseSchedule.setAlphaToOne(base));
  }
}
