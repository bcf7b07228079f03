package org.perflow.tensor;

import org.bytedeco.javacpp.Pointer;
import org.bytedeco.pytorch.Dispatcher;
import org.bytedeco.pytorch.FunctionSchema;
import org.bytedeco.pytorch.GenericList;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.IValueVector;
import org.bytedeco.pytorch.OperatorHandle;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorBase;
import org.bytedeco.pytorch.global.torch;
import org.jspecify.annotations.Nullable;

/**
 * Products of a drawing by oneDNN, through operators that PyTorch's compiler uses and its C++
 * interface leaves out. oneDNN works in the threads that the rest of libtorch works in; OpenBLAS
 * has threads of its own and lets in one caller at a time. The operators have no gradients.
 */
final class OneDnn {
  private static final boolean HERE =
      torch.hasMKLDNN() && System.getProperty("os.arch").matches("amd64|x86_64");

  private OneDnn() {}

  /** The operators and those of their arguments that are always the same. */
  private static final class Operators {
    private static final OperatorHandle LINEAR = find("_linear_pointwise");
    private static final OperatorHandle CONVOLUTION = find("_convolution_pointwise");
    private static final OperatorHandle REORDER = find("_reorder_convolution_weight");

    // a list must know what it could hold, and only a schema can say so
    private static final FunctionSchema TYPES =
        held(torch.parseSchema("perflow::types(Scalar? x, int y) -> Tensor"));
    private static final IValue NOTHING = held(new IValue());
    private static final IValue NO_ACTIVATION = held(new IValue("none"));
    private static final IValue NO_SCALARS = held(new IValue(list(0)));
    private static final IValue ONE = held(new IValue(1L));
    private static final IValue ONES = held(pair(1));

    private static OperatorHandle find(String name) {
      return held(Dispatcher.singleton().findSchemaOrThrow("mkldnn::" + name, ""));
    }

    private static GenericList list(long argument) {
      return new GenericList(TYPES.arguments().getPointer(argument).type());
    }

    static IValue pair(long both) {
      return integers(both, both);
    }

    static IValue integers(long... values) {
      GenericList list = list(1);
      for (long value : values) {
        list.push_back(new IValue(value));
      }
      return new IValue(list);
    }

    /** Outlives the scope that happens to be open. */
    private static <P extends Pointer> P held(P pointer) {
      return pointer.retainReference();
    }
  }

  /** Whether {@link #linear} may multiply these two, in this thread, now. */
  static boolean multiplies(Tensor x, Tensor weight) {
    return takes(x) && DType.of(weight.scalar_type()) == DType.F32 && weight.is_contiguous();
  }

  /** Whether {@code x} is of a kind that these operators compute with, in this thread, now. */
  static boolean takes(Tensor x) {
    return HERE
        && !GradMode.is_enabled()
        && !Tape.isOpen() // what is computed again later must come out the same
        && x.is_cpu()
        && DType.of(x.scalar_type()) == DType.F32
        && x.numel() > 0;
  }

  /**
   * Whether oneDNN cannot convolve with filters of that shape, [out, in, k, k]: where AVX-512
   * computes it divides integers by zero for these widths of a network that its authors tuned for
   * ({@code maskrcnn_cond} of {@code est_eff_1x1}, versions 3.5 to 3.9), which ends the process.
   */
  static boolean dividesByZero(long[] filters) {
    long out = filters[0];
    long in = filters[1];
    return filters[2] == 1
        && filters[3] == 1
        && ((in == 1024 && (out == 512 || out == 2048))
            || (in == 512 && (out == 1024 || out == 2048))
            || (in == 256 && out == 1024));
  }

  /** x Wᵀ + b; x [..., in], weight [out, in], float32. */
  static Tensor linear(Tensor x, Tensor weight, @Nullable Tensor bias) {
    return call(
        Operators.LINEAR,
        value(x),
        value(weight),
        value(bias),
        Operators.NO_ACTIVATION,
        Operators.NO_SCALARS,
        Operators.NOTHING);
  }

  /** Filters [out, in, k, k] in the order in which oneDNN reads them for maps [1, in, H, W]. */
  static Tensor reordered(Tensor filters, long stride, long padding, long height, long width) {
    return call(
        Operators.REORDER,
        value(filters),
        Operators.pair(padding),
        Operators.pair(stride),
        Operators.ONES,
        Operators.ONE,
        Operators.integers(1, filters.size(1), height, width));
  }

  /** x [B, in, H, W] with {@link #reordered} filters to [B, out, H', W'], channels innermost. */
  static Tensor convolution(
      Tensor x, Tensor filters, @Nullable Tensor bias, long stride, long padding) {
    return call(
        Operators.CONVOLUTION,
        value(x.contiguous(torch.MemoryFormat.ChannelsLast)),
        value(filters),
        value(bias),
        Operators.pair(padding),
        Operators.pair(stride),
        Operators.ONES,
        Operators.ONE,
        Operators.NO_ACTIVATION,
        Operators.NO_SCALARS,
        Operators.NOTHING);
  }

  private static IValue value(@Nullable Tensor tensor) {
    return tensor == null ? Operators.NOTHING : new IValue((TensorBase) tensor);
  }

  private static Tensor call(OperatorHandle operator, IValue... arguments) {
    IValueVector stack = new IValueVector();
    for (IValue argument : arguments) {
      stack.push_back(argument);
    }
    operator.callBoxed(stack);
    return new Tensor(stack.get(0).toTensor()); // what toTensor names dies with the stack
  }
}
