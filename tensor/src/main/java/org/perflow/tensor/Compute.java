package org.perflow.tensor;

/**
 * The element type that networks compute in. Weights, latents and losses keep theirs. {@code
 * bfloat16} halves the memory of activations and is several times faster on processors with
 * instructions for it (Intel's AMX, AVX-512 BF16, Arm's BF16, NVIDIA's since Ampere), and several
 * times slower on others. {@code float16} is for GPUs that have no bfloat16: it overflows in the
 * middle of some networks, and training in it scales its loss ({@link
 * org.perflow.tensor.optim.LossScale}).
 */
public enum Compute {
  /** float32 or bfloat16, whichever is faster here; where neither is by a tenth, float32. */
  AUTO,
  F32,
  BF16,
  F16;

  /** The same on the CPU. */
  public DType dtype() {
    return dtype(Device.CPU);
  }

  /**
   * The element type there: for {@link #AUTO} what {@link ComputeProbe} finds, at most once a
   * process.
   *
   * @throws IllegalArgumentException for float16 on the CPU
   */
  public DType dtype(Device device) {
    return switch (settled(device)) {
      case BF16 -> DType.BF16;
      case F16 -> DType.F16;
      default -> DType.F32;
    };
  }

  /**
   * What weights are kept in there by those who only draw: float32 on the CPU, so that nothing is
   * rounded before it must be, and the type to compute in where memory is dear.
   */
  public DType weights(Device device) {
    return device.settled().isCpu() ? DType.F32 : dtype(device);
  }

  /** The same on the CPU. */
  public Compute settled() {
    return settled(Device.CPU);
  }

  /**
   * {@link #F32}, {@link #BF16} or {@link #F16}.
   *
   * @throws IllegalArgumentException for float16 on the CPU, where it is slower than float32
   */
  public Compute settled(Device device) {
    Device there = device.settled();
    if (this == F16 && there.isCpu()) {
      throw new IllegalArgumentException(
          "networks compute in auto, float32 or bfloat16; got float16, which is for GPUs");
    }
    return this == AUTO ? of(ComputeProbe.on(there).faster()) : this;
  }

  /**
   * That type.
   *
   * @throws IllegalArgumentException where it is none of float32, bfloat16 and float16
   */
  public static Compute of(DType type) {
    return switch (type) {
      case F32 -> F32;
      case BF16 -> BF16;
      case F16 -> F16;
      default ->
          throw new IllegalArgumentException(
              "networks compute in auto, float32, bfloat16 or, on a GPU, float16; got "
                  + type.torchName());
    };
  }

  /**
   * {@code auto}, or any name of float32, bfloat16 or float16 that {@link DType#parse} knows.
   *
   * @throws IllegalArgumentException naming what there is
   */
  public static Compute parse(String name) {
    return name.equalsIgnoreCase(AUTO.name()) ? AUTO : of(DType.parse(name));
  }

  /** {@code auto}, {@code float32}, {@code bfloat16} or {@code float16}. */
  public String torchName() {
    return switch (this) {
      case AUTO -> "auto";
      case F32 -> DType.F32.torchName();
      case BF16 -> DType.BF16.torchName();
      case F16 -> DType.F16.torchName();
    };
  }

  /** The type on the CPU and, where it was chosen, why: for logs. */
  public String why() {
    return why(Device.CPU);
  }

  /** The type there and, where it was chosen, why: for logs. */
  public String why(Device device) {
    return this == AUTO
        ? ComputeProbe.on(device.settled()).toString()
        : "computes in " + torchName() + ", as asked for";
  }
}
