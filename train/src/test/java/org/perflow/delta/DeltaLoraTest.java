package org.perflow.delta;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.within;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.perflow.io.SafetensorsFile;
import org.perflow.io.SafetensorsWriter;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.models.lora.AppliedLoras;
import org.perflow.models.lora.AppliedLoras.Weighted;
import org.perflow.models.lora.LoraFile;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.train.Golden;

class DeltaLoraTest {
  private static final Path BASE =
      Golden.FOLDER.resolve("unet/diffusion_pytorch_model.safetensors");

  @TempDir Path temp;

  /** Singular values 4, 2, 1 in a known rotation: energies 16, 4, 1 of 21. */
  @Test
  void energiesAreTheSquaredSingularValues() {
    try (Scope scope = Scope.open()) {
      double c = Math.cos(0.3);
      double s = Math.sin(0.3);
      Tensor u = Tensor.of(new double[] {c, -s, 0, s, c, 0, 0, 0, 1}, 3, 3);
      Tensor sv = Tensor.of(new double[] {4, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 1, 0, 0}, 3, 5);
      Tensor wide = u.matmul(sv).to(DType.F32);
      double[] energies = {16 / 21.0, 20 / 21.0, 1};
      for (int rank = 1; rank <= 3; rank++) {
        for (Tensor matrix : new Tensor[] {wide, wide.transpose(0, 1)}) {
          DeltaLora.Truncated result = DeltaLora.truncate(matrix, rank);
          assertThat(result.kept()).isCloseTo(energies[rank - 1], within(1e-6));
          assertThat(result.down().shape()).containsExactly(rank, matrix.size(1));
          double rest = result.up().matmul(result.down()).sub(matrix).square().sum().item();
          assertThat(rest).isCloseTo(21 * (1 - energies[rank - 1]), within(1e-5)); // Eckart-Young
        }
      }
      assertThat(DeltaLora.truncate(wide, 8).down().shape()).containsExactly(3, 5);
    }
  }

  @Test
  void aMatrixOfLowerRankStaysFinite() {
    try (Scope scope = Scope.open()) {
      Tensor one = Tensor.full(0.5, 6, 4); // of rank 1
      DeltaLora.Truncated result = DeltaLora.truncate(one, 4);
      assertThat(result.up().matmul(result.down()).sub(one).abs().max().item()).isLessThan(1e-6);
      assertThat(result.up().isFinite() && result.down().isFinite()).isTrue();
    }
  }

  /** Changes of matrices of norm 3 in all, of one bias of norm 4: 9/25 can go along. */
  private Path delta() throws IOException {
    Path delta = temp.resolve("delta.safetensors");
    try (SafetensorsFile base = SafetensorsFile.open(BASE);
        Scope scope = Scope.open();
        Rng rng = Rng.seeded(5)) {
      Map<String, Tensor> change = new LinkedHashMap<>();
      int matrices =
          (int) base.entries().values().stream().filter(e -> e.shape().length > 1).count();
      for (SafetensorsFile.Entry entry : base.entries().values()) {
        Tensor value = Tensor.zeros(DType.F32, entry.shape());
        if (entry.shape().length > 1) {
          value = Tensor.randn(rng, entry.shape());
          value = value.mul(3 / (value.norm().item() * Math.sqrt(matrices)));
        } else if (entry.name().equals("conv_out.bias")) {
          value = value.add(2); // of four elements
        }
        change.put(entry.name(), value);
      }
      SafetensorsWriter.write(delta, change, Map.of("x", "y"));
    }
    return delta;
  }

  @ParameterizedTest
  @EnumSource(LoraFile.Format.class)
  void fullRankIsTheDeltaButForBiases(LoraFile.Format format) throws IOException {
    Path delta = delta();
    Path out = temp.resolve("lora.safetensors");
    DeltaLora.Report report = DeltaLora.write(delta, 10_000, format, DType.F32, out);
    assertThat(report.keptOfLayers()).isCloseTo(1, within(1e-6));
    assertThat(report.kept()).isCloseTo(9 / 25.0, within(1e-4));
    assertThat(report.notCarried()).isCloseTo(16 / 25.0, within(1e-4));
    assertThat(report.notCarriedWeights()).isEqualTo(1);
    try (UNet2DConditionModel unet = Golden.unet();
        LoraFile lora = LoraFile.read(out);
        SafetensorsFile base = SafetensorsFile.open(BASE);
        SafetensorsFile change = SafetensorsFile.open(delta);
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      assertThat(lora.metadata()).containsEntry("x", "y");
      try (var applied = AppliedLoras.fuse(Map.of("unet", unet), List.of(new Weighted(lora, 1)))) {
        unet.namedParameters()
            .forEach(
                (name, parameter) -> {
                  if (parameter.shape().length > 1) {
                    Tensor expected = read(base, name).add(read(change, name));
                    assertThat(parameter.value().sub(expected).abs().max().item())
                        .as(name)
                        .isLessThan(1e-6);
                  }
                });
      }
    }
  }

  private static Tensor read(SafetensorsFile file, String name) {
    try {
      return file.read(name);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  @Test
  void lowerRanksKeepLess() throws IOException {
    Path delta = delta();
    double before = 0;
    for (int rank : new int[] {1, 4, 16}) {
      Path out = temp.resolve("lora.safetensors");
      DeltaLora.Report report = DeltaLora.write(delta, rank, LoraFile.Format.KOHYA, DType.F16, out);
      assertThat(report.keptOfLayers()).isBetween(before + 0.01, 0.999);
      before = report.keptOfLayers();
    }
  }
}
