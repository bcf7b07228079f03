package org.perflow.tensor;

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
 * Matrix products of a drawing by oneDNN, through an operator that PyTorch's compiler uses and its
 * C++ interface leaves out. oneDNN works in the threads that the rest of libtorch works in;
 * OpenBLAS has threads of its own and lets in one caller at a time. The operator has no gradient.
 */
final class OneDnn {
  private static final boolean HERE =
      torch.hasMKLDNN() && System.getProperty("os.arch").matches("amd64|x86_64");

  private OneDnn() {}

  /** The operator and those of its arguments that are always the same. */
  private static final class Linear {
    private static final OperatorHandle OPERATOR =
        held(Dispatcher.singleton().findSchemaOrThrow("mkldnn::_linear_pointwise", ""));
    private static final IValue NOTHING = held(new IValue());
    private static final IValue NO_ACTIVATION = held(new IValue("none"));
    private static final IValue NO_SCALARS = held(noScalars());

    private static IValue noScalars() {
      // a list must know what it could hold, and only a schema can say "Scalar?"
      FunctionSchema schema = torch.parseSchema("perflow::none(Scalar? x) -> Tensor");
      return new IValue(new GenericList(schema.arguments().type()));
    }

    /** Outlives the scope that happens to be open. */
    private static <P extends org.bytedeco.javacpp.Pointer> P held(P pointer) {
      return pointer.retainReference();
    }
  }

  /** Whether {@link #linear} may multiply these two, in this thread, now. */
  static boolean multiplies(Tensor x, Tensor weight) {
    return HERE
        && !GradMode.is_enabled()
        && !Tape.isOpen() // what is computed again later must come out the same
        && x.is_cpu()
        && x.scalar_type() == torch.ScalarType.Float
        && weight.scalar_type() == torch.ScalarType.Float
        && weight.is_contiguous()
        && x.numel() > 0;
  }

  /** x Wᵀ + b; x [..., in], weight [out, in], float32. */
  static Tensor linear(Tensor x, Tensor weight, @Nullable Tensor bias) {
    IValueVector stack = new IValueVector();
    stack.push_back(new IValue((TensorBase) x));
    stack.push_back(new IValue((TensorBase) weight));
    stack.push_back(bias == null ? Linear.NOTHING : new IValue((TensorBase) bias));
    stack.push_back(Linear.NO_ACTIVATION);
    stack.push_back(Linear.NO_SCALARS);
    stack.push_back(Linear.NOTHING);
    Linear.OPERATOR.callBoxed(stack);
    return new Tensor(stack.get(0).toTensor()); // what toTensor names dies with the stack
  }
}
