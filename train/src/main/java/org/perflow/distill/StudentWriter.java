package org.perflow.distill;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Map;
import java.util.TreeMap;
import org.perflow.delta.Delta;
import org.perflow.delta.DeltaFolder;
import org.perflow.delta.Provenance;
import org.perflow.io.AtomicFiles;
import org.perflow.models.DiffusionModel;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.tensor.DType;

/**
 * Saves a student: a diffusers folder with the scheduler that it is sampled by, {@code
 * delta.safetensors} (student - teacher, float32) and {@code provenance.json}.
 */
public final class StudentWriter {
  private static final String UNET = "unet/diffusion_pytorch_model.safetensors";

  private StudentWriter() {}

  /**
   * The teacher with the student's U-Net and scheduler; shares all parts with the two.
   *
   * @param teacher where VAE, text encoder and tokenizer come from
   * @param scheduler the student's scheduler config
   */
  public static DiffusionModel student(
      DiffusionModel teacher, UNet2DConditionModel student, ObjectNode scheduler) {
    DiffusionModel accelerated = teacher.withUnet(student).withScheduler(scheduler);
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
      ObjectNode scheduler,
      Provenance provenance,
      DType type,
      Path folder)
      throws IOException {
    DiffusionModel.refuseForeign(folder);
    DiffusionModel model = student(teacher, student, scheduler);
    Path prepared = folder.toAbsolutePath().resolveSibling("." + folder.getFileName() + ".new");
    model.save(prepared, DType.F32, provenance.asMetadata());
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
    model.unet().save(folder.resolve("unet"), type, header);
    model.vae().save(folder.resolve("vae"), type, header);
    model.textEncoder().save(folder.resolve("text_encoder"), type, header);
    if (model.second() != null) {
      model.second().textEncoder().save(folder.resolve("text_encoder_2"), type, header);
    }
  }
}
