package org.perflow.train;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PerflowScheduler;
import org.perflow.flow.TimeWindows;
import org.perflow.io.AtomicFiles;
import org.perflow.models.DiffusionModel;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;

/**
 * Saves a PeRFlow student: a diffusers folder whose scheduler is PeRFlow's, {@code
 * delta.safetensors} (student - teacher, float32) and {@code provenance.json}.
 */
public final class StudentWriter {
  private static final String UNET = "unet/diffusion_pytorch_model.safetensors";

  /** Key of the scheduler config for the guidance that a student was trained to be sampled with. */
  public static final String GUIDANCE = "recommended_guidance_scale";

  private StudentWriter() {}

  /**
   * The teacher with the student's U-Net and scheduler; shares all parts with the two.
   *
   * @param teacher where VAE, text encoder, tokenizer and noise schedule come from
   */
  public static DiffusionModel student(
      DiffusionModel teacher, UNet2DConditionModel student, PerflowOptions options) {
    ObjectNode scheduler = teacher.schedulerConfig();
    boolean toOne = NoiseSchedule.of(scheduler).finalAlphaBar() == 1;
    ObjectNode config =
        PerflowScheduler.config(
            scheduler, new TimeWindows(options.windows()), options.parameterization(), toOne);
    switch (options.guidanceMode()) {
      case FIXED -> config.put(GUIDANCE, 1.0); // the teacher's is in the student's weights already
      case MATCHED -> config.put(GUIDANCE, options.guidance());
      case SYNC -> {} // any, as for the teacher
    }
    DiffusionModel accelerated = teacher.withUnet(student).withScheduler(config);
    DiffusionModel.Second second = accelerated.second();
    // Without a caption XL's student was trained on the empty one, never on zeros.
    return second == null ? accelerated : accelerated.withSecond(second.withForceZeros(false));
  }

  /**
   * Writes it all into {@code folder}.
   *
   * @param teacherFolder the diffusers folder that {@code teacher} was read from
   * @param type element type of the model's weights; the delta is taken in float32 before
   */
  public static void write(
      DiffusionModel teacher,
      Path teacherFolder,
      UNet2DConditionModel student,
      PerflowOptions options,
      Provenance provenance,
      DType type,
      Path folder)
      throws IOException {
    DiffusionModel.refuseForeign(folder);
    DiffusionModel model = student(teacher, student, options);
    Path prepared = folder.toAbsolutePath().resolveSibling("." + folder.getFileName() + ".new");
    // The weights of a student that is trained as a LoRA are worked out as they are read.
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      model.save(prepared, DType.F32, provenance.asMetadata());
    }
    Map<String, String> about = new TreeMap<>(provenance.asMetadata());
    about.putAll(Delta.sampler(model.schedulerConfig(), teacher.schedulerConfig()));
    Delta.extract(
        DeltaFolder.weights(teacherFolder),
        prepared.resolve(UNET),
        prepared.resolve("delta.safetensors"),
        DType.F32,
        about);
    if (type != DType.F32) {
      saveWeights(model, prepared, type, provenance.asMetadata());
    }
    provenance.write(prepared);
    AtomicFiles.replaceDirectory(prepared, folder); // all of it or nothing
  }

  private static void saveWeights(
      DiffusionModel model, Path folder, DType type, Map<String, String> header)
      throws IOException {
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      model.unet().save(folder.resolve("unet"), type, header);
      model.vae().save(folder.resolve("vae"), type, header);
      model.textEncoder().save(folder.resolve("text_encoder"), type, header);
      if (model.second() != null) {
        model.second().textEncoder().save(folder.resolve("text_encoder_2"), type, header);
      }
    }
  }
}
