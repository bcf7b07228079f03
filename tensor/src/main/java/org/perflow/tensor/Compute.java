package org.perflow.tensor;

/**
 * The element type that networks compute in. Weights, latents and losses keep theirs. {@code
 * bfloat16} halves the memory of activations and is several times faster on processors with
 * instructions for it (Intel's AMX, AVX-512 BF16, Arm's BF16), and several times slower on others.
 */
public enum Compute {
  /** Whichever is faster on this machine; where neither is by a tenth, float32. */
  AUTO,
  F32,
  BF16;

  /**
   * The element type: for {@link #AUTO} what {@link ComputeProbe} finds, at most once a process.
   */
  public DType dtype() {
    return settled() == F32 ? DType.F32 : DType.BF16;
  }

  /** {@link #F32} or {@link #BF16}. */
  public Compute settled() {
    return this == AUTO ? of(ComputeProbe.here().faster()) : this;
  }

  /**
   * That type.
   *
   * @throws IllegalArgumentException where it is neither float32 nor bfloat16; float16 overflows in
   *     the middle of many networks, and training in it needs its loss scaled
   */
  public static Compute of(DType type) {
    return switch (type) {
      case F32 -> F32;
      case BF16 -> BF16;
      default ->
          throw new IllegalArgumentException(
              "networks compute in auto, float32 or bfloat16; got " + type.torchName());
    };
  }

  /**
   * {@code auto}, or any name of float32 or bfloat16 that {@link DType#parse} knows.
   *
   * @throws IllegalArgumentException naming what there is
   */
  public static Compute parse(String name) {
    return name.equalsIgnoreCase(AUTO.name()) ? AUTO : of(DType.parse(name));
  }

  /** {@code auto}, {@code float32} or {@code bfloat16}. */
  public String torchName() {
    return this == AUTO ? "auto" : dtype().torchName();
  }

  /** The type and, where it was chosen, why: for logs. */
  public String why() {
    return this == AUTO
        ? ComputeProbe.here().toString()
        : "computes in " + torchName() + ", as asked for";
  }
}
