package org.perflow.benchmarks;

import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Level;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.TearDown;
import org.openjdk.jmh.annotations.Warmup;
import org.perflow.tensor.DType;
import org.perflow.tensor.Functional;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Tensor;

/** The operations that a U-Net's time goes to, at sizes of emoji-64 and of Stable Diffusion 1. */
@State(Scope.Thread)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MICROSECONDS)
@Fork(1)
@Warmup(iterations = 2, time = 1)
@Measurement(iterations = 5, time = 1)
public class HotOperations {
  /** Channels and side of the feature maps. */
  @Param({"80x8", "320x64", "1280x16"})
  public String size;

  @Param({"float32", "bfloat16"})
  public String dtype;

  private org.perflow.tensor.Scope scope;
  private NoGrad guard;
  private Tensor maps; // [2, C, S, S]
  private Tensor filters;
  private Tensor tokens; // [2, S², C]
  private Tensor matrix; // [4 C, C]
  private Tensor heads; // [2, 8, S², C / 8]
  private Tensor ones;
  private Tensor zeros;

  @Setup(Level.Trial)
  public void prepare() {
    int channels = Integer.parseInt(size.split("x")[0]);
    int side = Integer.parseInt(size.split("x")[1]);
    DType type = DType.parse(dtype);
    scope = org.perflow.tensor.Scope.open();
    guard = NoGrad.enter();
    try (Rng rng = Rng.seeded(0)) {
      maps = Tensor.randn(rng, 2, channels, side, side).to(type).channelsLast();
      filters = Tensor.randn(rng, channels, channels, 3, 3).to(type);
      tokens = Tensor.randn(rng, 2, (long) side * side, channels).to(type);
      matrix = Tensor.randn(rng, 4L * channels, channels).to(type);
      heads = Tensor.randn(rng, 2, 8, (long) side * side, channels / 8).to(type);
      ones = Tensor.full(1, channels).to(type);
      zeros = Tensor.full(0, channels).to(type);
    }
  }

  @TearDown(Level.Trial)
  public void free() {
    guard.close();
    scope.close();
  }

  @Benchmark
  public void convolution() {
    try (var step = org.perflow.tensor.Scope.open()) {
      Functional.conv2d(maps, filters, null, 1, 1);
    }
  }

  @Benchmark
  public void linear() {
    try (var step = org.perflow.tensor.Scope.open()) {
      Functional.linear(tokens, matrix, null);
    }
  }

  @Benchmark
  public void attention() {
    try (var step = org.perflow.tensor.Scope.open()) {
      Functional.attention(heads, heads, heads, false);
    }
  }

  @Benchmark
  public void groupNormAndSilu() {
    try (var step = org.perflow.tensor.Scope.open()) {
      Functional.silu(Functional.groupNorm(maps, 4, ones, zeros, 1e-5));
    }
  }
}
