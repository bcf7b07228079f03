package org.perflow.tensor;

import org.bytedeco.pytorch.global.torch.ScalarType;

/** Element types, with the names that safetensors headers and PyTorch use. Immutable. */
public enum DType {
  F64("F64", "float64", 8, ScalarType.Double),
  F32("F32", "float32", 4, ScalarType.Float),
  F16("F16", "float16", 2, ScalarType.Half),
  BF16("BF16", "bfloat16", 2, ScalarType.BFloat16),
  I64("I64", "int64", 8, ScalarType.Long),
  I32("I32", "int32", 4, ScalarType.Int),
  I16("I16", "int16", 2, ScalarType.Short),
  I8("I8", "int8", 1, ScalarType.Char),
  U8("U8", "uint8", 1, ScalarType.Byte),
  BOOL("BOOL", "bool", 1, ScalarType.Bool);

  private final String safetensorsName;
  private final String torchName;
  private final int bytes;
  final ScalarType torch;

  DType(String safetensorsName, String torchName, int bytes, ScalarType torch) {
    this.safetensorsName = safetensorsName;
    this.torchName = torchName;
    this.bytes = bytes;
    this.torch = torch;
  }

  /** Name in a safetensors header, such as {@code BF16}. */
  public String safetensorsName() {
    return safetensorsName;
  }

  /** PyTorch's name, such as {@code bfloat16}. */
  public String torchName() {
    return torchName;
  }

  /** Bytes an element takes. */
  public int bytes() {
    return bytes;
  }

  /** Whether gradients can flow through it. */
  public boolean isFloating() {
    return this == F64 || this == F32 || this == F16 || this == BF16;
  }

  /**
   * The type of that safetensors, PyTorch or short name ({@code F32}, {@code float32}, {@code
   * fp32}).
   *
   * @throws IllegalArgumentException naming the known ones
   */
  public static DType parse(String name) {
    String wanted = name.replace("torch.", "").replaceFirst("^fp", "float");
    for (DType type : values()) {
      if (type.safetensorsName.equalsIgnoreCase(wanted)
          || type.torchName.equalsIgnoreCase(wanted)
          || (type == BF16 && wanted.equalsIgnoreCase("bf16"))) {
        return type;
      }
    }
    throw new IllegalArgumentException(
        "unknown dtype '" + name + "'; known: float32, float16, bfloat16, float64, int64");
  }

  static DType of(ScalarType torch) {
    for (DType type : values()) {
      if (type.torch.value == torch.value) {
        return type;
      }
    }
    throw new IllegalArgumentException("unsupported libtorch element type " + torch);
  }
}
