package org.perflow.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.perflow.io.WeightsKind.Family;
import org.perflow.models.lora.AppliedLoras;
import org.perflow.models.lora.LoraAdapters;
import org.perflow.models.lora.LoraFile;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tape;
import org.perflow.tensor.Tensor;

/**
 * What a GPU is given to do, on libtorch's device without data, which refuses tensors of the CPU
 * among its own and reads of values. Models have their published sizes.
 */
class MetaModelsTest {
  private static final Device META = Device.META;

  private static Tensor meta(DType type, long... shape) {
    return Tensor.zeros(type, META, shape);
  }

  /** All others would be of no use if this did not throw. */
  @Test
  void tensorsLeftOnTheCpuAreRefused() throws IOException {
    try (Rng rng = Rng.seeded(0);
        Scope scope = Scope.open();
        DiffusionModel model = DiffusionModel.random(Family.SD1, DType.F32, rng, META)) {
      Tensor z = meta(DType.F32, 1, 4, 8, 8);
      Tensor text = Tensor.zeros(DType.F32, 1, 77, 768);
      assertThatThrownBy(() -> model.unet().forward(z, Tensor.full(1, 1), text))
          .isInstanceOf(RuntimeException.class);
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = Family.class,
      names = {"SD1", "SD2", "SDXL"})
  void familiesRunThere(Family family) throws IOException {
    try (Rng rng = Rng.seeded(0);
        DiffusionModel model = DiffusionModel.random(family, DType.BF16, rng, META)) {
      try (Scope scope = Scope.open();
          NoGrad guard = NoGrad.enter()) {
        assertThat(model.device()).isEqualTo(META);
        AddedConditions added = added(model, 2);
        Tensor z = meta(DType.BF16, 2, 4, 64, 64);
        Tensor output =
            model.unet().forward(z, Tensor.full(7, 2), text(model, 2), added, null, null);
        assertThat(output).hasToString("BF16[2, 4, 64, 64]");
        assertThat(output.device()).isEqualTo(META);
        assertThat(model.vae().decode(z)).hasToString("BF16[2, 3, 512, 512]");
        Tensor picture = meta(DType.BF16, 1, 3, 2048, 1024);
        assertThat(model.vae().encodeMomentsTiled(picture)).hasToString("BF16[1, 8, 256, 128]");
        assertThat(model.vae().decodeTiled(meta(DType.BF16, 1, 4, 256, 128)).device())
            .isEqualTo(META);
        reads(model);
      }
    }
  }

  private static Tensor text(DiffusionModel model, long rows) {
    return meta(DType.BF16, rows, 77, model.unet().config().crossAttentionDim().get(0));
  }

  private static AddedConditions added(DiffusionModel model, long rows) {
    return model.second() == null
        ? null
        : new AddedConditions(meta(DType.BF16, rows, 1280), meta(DType.F32, rows, 6));
  }

  /** Captions, whose tokens come from the host. */
  private static void reads(DiffusionModel model) {
    Tensor ids = Tensor.of(model.tokenizer().encode("a red apple"), 1, 77);
    CLIPTextModel.Output output = model.textEncoder().forward(ids);
    assertThat(output.pooled().device()).isEqualTo(META);
    if (model.second() != null) {
      assertThat(model.second().textEncoder().forward(ids, DType.F32).textEmbeds())
          .hasToString("F32[1, 1280]");
    }
  }

  /** With gradients, plainly and in blocks that are computed twice. */
  @ParameterizedTest
  @EnumSource(
      value = Family.class,
      names = {"SD1", "SD2", "SDXL"})
  void gradientsFlowThere(Family family) throws IOException {
    try (Rng rng = Rng.seeded(0);
        DiffusionModel model = DiffusionModel.random(family, DType.F32, rng, META)) {
      model.unet().namedParameters().values().forEach(p -> p.value().requiresGrad(true));
      for (Tape.Way way : Tape.Way.values()) {
        try (Scope scope = Scope.open();
            Tape tape = Tape.record(way)) {
          Tensor output =
              model
                  .unet()
                  .forward(
                      meta(DType.BF16, 1, 4, 32, 32),
                      Tensor.full(7, 1),
                      text(model, 1),
                      added(model, 1),
                      null,
                      null);
          tape.backward(output.to(DType.F32).square().mean());
        }
        assertThat(model.unet().namedParameters().get("conv_in.weight").value().hasGrad()).isTrue();
      }
    }
  }

  @Test
  void controlNetsAndSmallAutoencodersRunThere() throws IOException {
    try (Rng rng = Rng.seeded(0);
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter();
        DiffusionModel model = DiffusionModel.load(Golden.SD15, DType.F32, META);
        ControlNetModel net =
            ControlNetModel.load(Golden.ROOT.resolve("models/controlnet-sd15"), DType.F32)) {
      net.to(META);
      long width = model.unet().config().crossAttentionDim().get(0);
      Tensor z = meta(DType.F32, 2, 4, 16, 16);
      Tensor text = meta(DType.F32, 2, 77, width);
      int pixels = 16 * net.config().downsampling();
      var residuals =
          net.forward(z, Tensor.full(7, 2), text, meta(DType.F32, 2, 3, pixels, pixels), null);
      assertThat(
              model
                  .unet()
                  .forward(z, Tensor.full(7, 2), text, null, null, residuals.times(0.5))
                  .device())
          .isEqualTo(META);
      try (AutoencoderTiny tiny =
          AutoencoderTiny.load(Golden.ROOT.resolve("models/taesd"), DType.F32)) {
        tiny.to(META);
        assertThat(tiny.decode(tiny.encode(meta(DType.F32, 1, 3, 64, 64))).device())
            .isEqualTo(META);
      }
    }
  }

  /** Added once, at every use, and trained. */
  @Test
  void lorasAreMovedToTheModel(@TempDir Path temp) throws IOException {
    Path file = temp.resolve("lora.safetensors");
    try (Rng rng = Rng.seeded(0);
        DiffusionModel model = DiffusionModel.load(Golden.SD15, DType.F32)) {
      try (LoraAdapters adapters = LoraAdapters.attach(model.unet(), 2, 2, rng)) {
        LoraFile.write(file, adapters.layers(), LoraFile.Format.KOHYA, DType.F32, Map.of());
      }
      model.to(META);
      List<AppliedLoras.Source> source = List.of(new AppliedLoras.Source(file, 0.5));
      try (AppliedLoras applied = AppliedLoras.fuse(model, source)) {
        asks(model);
      }
      try (LoraFile lora = LoraFile.read(file);
          AppliedLoras applied =
              AppliedLoras.attach(
                  AppliedLoras.parts(model), List.of(new AppliedLoras.Weighted(lora, 1)))) {
        asks(model);
      }
      try (LoraAdapters adapters = LoraAdapters.attach(model.unet(), 2, 2, rng)) {
        Map<String, Device> devices = new LinkedHashMap<>();
        adapters.parameters().forEach((name, p) -> devices.put(name, p.device()));
        assertThat(devices)
            .isNotEmpty()
            .allSatisfy((name, there) -> assertThat(there).isEqualTo(META));
        asks(model);
      }
    }
  }

  private static void asks(DiffusionModel model) {
    long width = model.unet().config().crossAttentionDim().get(0);
    try (Scope scope = Scope.open()) {
      Tensor output =
          model
              .unet()
              .forward(
                  meta(DType.F32, 1, 4, 8, 8), Tensor.full(7, 1), meta(DType.F32, 1, 77, width));
      assertThat(output.device()).isEqualTo(META);
    }
  }
}
