package org.perflow.tensor;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.function.IntToDoubleFunction;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.DoublePointer;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.pytorch.DeviceOptional;
import org.bytedeco.pytorch.LongOptional;
import org.bytedeco.pytorch.MemoryFormatOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarOptional;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;

/**
 * A libtorch tensor. Every operation returns a new tensor owned by the innermost {@link Scope} of
 * the calling thread; methods that end in {@code InPlace} change this one and return it. Names and
 * semantics are PyTorch's. A tensor may be read by several threads, but not while one writes. It is
 * made on the CPU unless a {@link Device} is named, and operations stay where their operands are.
 *
 * <p>Errors are {@link IllegalArgumentException} with the shapes where we check, else the {@link
 * RuntimeException} that carries libtorch's own message.
 */
public final class Tensor implements AutoCloseable {
  static {
    Natives.prepare();
  }

  /** On this thread a {@link Tape} has recorded parts that plain autograd would end at. */
  static final ThreadLocal<Boolean> BACKWARD_BY_TAPE = ThreadLocal.withInitial(() -> false);

  /** Larger tensors would leave as much pinned memory behind, which libtorch keeps. */
  private static final long MOST_PINNED = 32L << 20; // bytes

  final org.bytedeco.pytorch.Tensor raw;

  Tensor(org.bytedeco.pytorch.Tensor raw) {
    this.raw = raw;
  }

  // ---------------------------------------------------------------- making

  static TensorOptions options(DType type) {
    return new TensorOptions(type.torch);
  }

  static TensorOptions options(DType type, Device device) {
    return options(type).device(new DeviceOptional(device.raw()));
  }

  /** Zeros; on the CPU, as whatever is made without a device. */
  public static Tensor zeros(DType type, long... shape) {
    return new Tensor(torch.zeros(shape, options(type)));
  }

  /** Zeros. */
  public static Tensor zeros(DType type, Device device, long... shape) {
    return new Tensor(torch.zeros(shape, options(type, device)));
  }

  /** Uninitialised memory: fill it before it is read. */
  public static Tensor empty(DType type, long... shape) {
    return new Tensor(torch.empty(shape, options(type), new MemoryFormatOptional()));
  }

  /** Uninitialised memory of that device: fill it before it is read. */
  public static Tensor empty(DType type, Device device, long... shape) {
    return new Tensor(torch.empty(shape, options(type, device), new MemoryFormatOptional()));
  }

  /** float32, every element {@code value}. */
  public static Tensor full(double value, long... shape) {
    return new Tensor(torch.full(shape, new Scalar(value), options(DType.F32)));
  }

  /** A copy of {@code values}, float32, in that shape (a vector where none is given). */
  public static Tensor of(float[] values, long... shape) {
    try (FloatPointer data = new FloatPointer(values)) {
      return copyOf(data, DType.F32, values.length, shape);
    }
  }

  /** A float32 vector, such as a value for each row of a batch. */
  public static Tensor generate(int length, IntToDoubleFunction element) {
    float[] values = new float[length];
    for (int i = 0; i < length; i++) {
      values[i] = (float) element.applyAsDouble(i);
    }
    return of(values);
  }

  /** A copy of {@code values}, float64. */
  public static Tensor of(double[] values, long... shape) {
    try (DoublePointer data = new DoublePointer(values)) {
      return copyOf(data, DType.F64, values.length, shape);
    }
  }

  /** A copy of {@code values}, int64. */
  public static Tensor of(long[] values, long... shape) {
    try (LongPointer data = new LongPointer(values)) {
      return copyOf(data, DType.I64, values.length, shape);
    }
  }

  /** A copy of {@code values}, uint8. */
  public static Tensor of(byte[] values, long... shape) {
    try (BytePointer data = new BytePointer(values)) {
      return copyOf(data, DType.U8, values.length, shape);
    }
  }

  private static Tensor copyOf(Pointer data, DType type, int length, long... shape) {
    long[] wanted = shape.length == 0 ? new long[] {length} : shape;
    if (product(wanted) != length) {
      throw new IllegalArgumentException(
          length + " values do not fill shape " + Arrays.toString(wanted));
    }
    return new Tensor(torch.from_blob(data, wanted, options(type)).clone());
  }

  /** 0, 1, ... end-1, int64. */
  public static Tensor arange(long end) {
    return new Tensor(torch.arange(new Scalar(end), options(DType.I64)));
  }

  /** Standard normal float32, as {@code torch.randn(shape, generator=rng)}. */
  public static Tensor randn(Rng rng, long... shape) {
    return new Tensor(torch.randn(shape, rng.option, options(DType.F32)));
  }

  /**
   * The same in the shape of {@code like}, and where that is: drawn on the CPU whatever the device,
   * so that a seed draws the same numbers on each.
   */
  public static Tensor randnLike(Rng rng, Tensor like) {
    return randn(rng, like.shape()).to(like.device());
  }

  /** Uniform float32 in [0, 1). */
  public static Tensor rand(Rng rng, long... shape) {
    return new Tensor(torch.rand(shape, rng.option, options(DType.F32)));
  }

  /** Uniform int64 in [0, high). */
  public static Tensor randint(Rng rng, long high, long... shape) {
    return new Tensor(torch.randint(high, shape, rng.option, options(DType.I64)));
  }

  /** A random order of 0 ... count-1, int64. */
  public static Tensor randperm(Rng rng, long count) {
    return new Tensor(torch.randperm(count, rng.option, options(DType.I64)));
  }

  /** Joins along an existing dimension. */
  public static Tensor cat(int dim, List<Tensor> parts) {
    return new Tensor(torch.cat(vector(parts), dim));
  }

  /** Joins along an existing dimension. */
  public static Tensor cat(int dim, Tensor... parts) {
    return cat(dim, Arrays.asList(parts));
  }

  /** Joins along a new dimension. */
  public static Tensor stack(int dim, List<Tensor> parts) {
    return new Tensor(torch.stack(vector(parts), dim));
  }

  /** {@code a} where the condition holds, else {@code b}; broadcast. */
  public static Tensor where(Tensor condition, Tensor a, Tensor b) {
    return new Tensor(
        condition.raw.is_meta()
            ? Meta.where(condition.raw, a.raw, b.raw)
            : torch.where(condition.raw, a.raw, b.raw));
  }

  static TensorVector vector(List<Tensor> parts) {
    TensorVector vector = new TensorVector();
    for (Tensor part : parts) {
      Meta.together(parts.get(0).raw, part.raw);
      vector.push_back(part.raw);
    }
    return vector;
  }

  // ---------------------------------------------------------------- shape

  /** Sizes of all dimensions. */
  public long[] shape() {
    long[] shape = new long[dim()];
    for (int i = 0; i < shape.length; i++) {
      shape[i] = raw.size(i);
    }
    return shape;
  }

  /** Size of one dimension; negative counts from the last. */
  public long size(int dim) {
    return raw.size(dim);
  }

  /** Number of dimensions. */
  public int dim() {
    return (int) raw.dim();
  }

  /** Number of elements. */
  public long numel() {
    return raw.numel();
  }

  /** Element type. */
  public DType dtype() {
    return DType.of(raw.scalar_type());
  }

  /** Where its elements are. */
  public Device device() {
    return Device.of(raw);
  }

  /** The same elements in another shape; one size may be -1. */
  public Tensor reshape(long... shape) {
    return new Tensor(raw.reshape(shape));
  }

  /** A vector [B] as [B, 1, ...] of that many dimensions, to go with the rows of a batch. */
  public Tensor asRows(long dimensions) {
    long[] shape = new long[Math.toIntExact(dimensions)];
    Arrays.fill(shape, 1);
    shape[0] = -1;
    return reshape(shape);
  }

  /** Dimensions in another order. */
  public Tensor permute(long... order) {
    return new Tensor(raw.permute(order));
  }

  /** A view of that shape, whose neighbours along dimension i are {@code strides[i]} apart. */
  public Tensor asStrided(long[] shape, long[] strides) {
    return new Tensor(raw.as_strided(shape, strides));
  }

  /** Two dimensions swapped. */
  public Tensor transpose(int a, int b) {
    return new Tensor(raw.transpose(a, b));
  }

  /** A dimension of size 1 put in. */
  public Tensor unsqueeze(int dim) {
    return new Tensor(raw.unsqueeze(dim));
  }

  /** A dimension of size 1 taken out. */
  public Tensor squeeze(int dim) {
    return new Tensor(raw.squeeze(dim));
  }

  /** Broadcast to {@code shape} without copying; -1 keeps a size. */
  public Tensor expand(long... shape) {
    return new Tensor(raw.expand(shape));
  }

  /** {@code length} elements from {@code start} of one dimension, as a view. */
  public Tensor narrow(int dim, long start, long length) {
    return new Tensor(raw.narrow(dim, start, length));
  }

  /** Row {@code index} of one dimension, as a view with that dimension gone. */
  public Tensor select(int dim, long index) {
    return new Tensor(raw.select(dim, index));
  }

  /** The rows that {@code index} (int64) names, copied. */
  public Tensor indexSelect(int dim, Tensor index) {
    return new Tensor(
        raw.is_meta() ? Meta.indexSelect(raw, dim, index.raw) : raw.index_select(dim, index.raw));
  }

  /** {@code count} equal parts along one dimension, as views. */
  public List<Tensor> chunk(int count, int dim) {
    TensorVector parts = raw.chunk(count, dim);
    List<Tensor> list = new ArrayList<>();
    for (long i = 0; i < parts.size(); i++) {
      list.add(new Tensor(new org.bytedeco.pytorch.Tensor(parts.get(i))));
    }
    return list;
  }

  /** One dimension reversed. */
  public Tensor flip(int dim) {
    return new Tensor(raw.is_meta() ? Meta.elementwise(raw) : raw.flip(dim));
  }

  /** Row-major memory. */
  public Tensor contiguous() {
    return new Tensor(raw.contiguous());
  }

  /**
   * [B, C, H, W] with channels innermost in memory: the layout that convolutions are fastest in.
   */
  public Tensor channelsLast() {
    return new Tensor(raw.contiguous(torch.MemoryFormat.ChannelsLast));
  }

  /** In another element type; itself where it already has it. */
  public Tensor to(DType type) {
    return raw.scalar_type().value == type.torch.value ? this : new Tensor(raw.to(type.torch));
  }

  /**
   * On another device; itself where it is there already. On its way to a GPU it is copied while the
   * host goes on, by way of pinned memory where it is small enough; the way back waits for what
   * computes there.
   */
  public Tensor to(Device device) {
    Device from = device();
    if (from.equals(device)) {
      return this;
    }
    boolean pinned =
        from.isCpu()
            && device.kind() == Device.Kind.CUDA
            && numel() * dtype().bytes() <= MOST_PINNED;
    org.bytedeco.pytorch.Tensor source = pinned ? raw.pin_memory() : raw;
    return new Tensor(
        source.to(
            device.raw(),
            source.scalar_type(),
            !device.isCpu(),
            false,
            new MemoryFormatOptional()));
  }

  // ---------------------------------------------------------------- arithmetic

  /** this + other, broadcast. */
  public Tensor add(Tensor other) {
    return new Tensor(raw.add(other.raw));
  }

  /** this + other. */
  public Tensor add(double other) {
    return new Tensor(raw.add(new Scalar(other)));
  }

  /** this - other, broadcast. */
  public Tensor sub(Tensor other) {
    return new Tensor(raw.sub(other.raw));
  }

  /** this - other. */
  public Tensor sub(double other) {
    return new Tensor(raw.sub(new Scalar(other)));
  }

  /** this × other, broadcast. */
  public Tensor mul(Tensor other) {
    return new Tensor(raw.mul(other.raw));
  }

  /** this × other. */
  public Tensor mul(double other) {
    return new Tensor(raw.mul(new Scalar(other)));
  }

  /** this ÷ other, broadcast. */
  public Tensor div(Tensor other) {
    return new Tensor(raw.div(other.raw));
  }

  /** this ÷ other. */
  public Tensor div(double other) {
    return new Tensor(raw.div(new Scalar(other)));
  }

  /** -x, elementwise. */
  public Tensor neg() {
    return new Tensor(raw.neg());
  }

  /** e^x, elementwise. */
  public Tensor exp() {
    return new Tensor(raw.exp());
  }

  /** e^x - 1, elementwise. */
  public Tensor expm1() {
    return new Tensor(raw.expm1());
  }

  /** ln x, elementwise. */
  public Tensor log() {
    return new Tensor(raw.log());
  }

  /** 1/x, elementwise. */
  public Tensor reciprocal() {
    return new Tensor(raw.reciprocal());
  }

  /** √x, elementwise. */
  public Tensor sqrt() {
    return new Tensor(raw.sqrt());
  }

  /** 1/√x, elementwise. */
  public Tensor rsqrt() {
    return new Tensor(raw.rsqrt());
  }

  /** x², elementwise. */
  public Tensor square() {
    return new Tensor(raw.square());
  }

  /** |x|, elementwise. */
  public Tensor abs() {
    return new Tensor(raw.is_meta() ? Meta.elementwise(raw) : raw.abs());
  }

  /** sin x, elementwise. */
  public Tensor sin() {
    return new Tensor(raw.sin());
  }

  /** cos x, elementwise. */
  public Tensor cos() {
    return new Tensor(raw.cos());
  }

  /** tanh x, elementwise. */
  public Tensor tanh() {
    return new Tensor(raw.tanh());
  }

  /** 1/(1+e^-x), elementwise. */
  public Tensor sigmoid() {
    return new Tensor(raw.sigmoid());
  }

  /** max(x, 0), elementwise. */
  public Tensor relu() {
    return new Tensor(raw.is_meta() ? Meta.elementwise(raw) : torch.relu(raw));
  }

  /** nearest, ties to even, elementwise. */
  public Tensor round() {
    return new Tensor(raw.round());
  }

  /** ⌊x⌋, elementwise. */
  public Tensor floor() {
    return new Tensor(raw.floor());
  }

  /** ⌈x⌉, elementwise. */
  public Tensor ceil() {
    return new Tensor(raw.ceil());
  }

  /** {@code this < other}, as booleans. */
  public Tensor lt(double other) {
    return new Tensor(raw.lt(new Scalar(other)));
  }

  /** this ≤ other, as booleans. */
  public Tensor le(double other) {
    return new Tensor(raw.le(new Scalar(other)));
  }

  /** {@code this > other}, as booleans. */
  public Tensor gt(double other) {
    return new Tensor(raw.gt(new Scalar(other)));
  }

  /** this ≥ other, as booleans. */
  public Tensor ge(double other) {
    return new Tensor(raw.ge(new Scalar(other)));
  }

  /** this = other, as booleans. */
  public Tensor eq(double other) {
    return new Tensor(raw.eq(new Scalar(other)));
  }

  /** this^exponent. */
  public Tensor pow(double exponent) {
    return new Tensor(raw.pow(new Scalar(exponent)));
  }

  /** Held between two bounds. */
  public Tensor clamp(double min, double max) {
    if (raw.is_meta()) {
      return new Tensor(Meta.elementwise(raw));
    }
    return new Tensor(
        raw.clamp(new ScalarOptional(new Scalar(min)), new ScalarOptional(new Scalar(max))));
  }

  /** The smaller of both, elementwise. */
  public Tensor minimum(Tensor other) {
    return new Tensor(raw.minimum(other.raw));
  }

  /** The larger of both, elementwise. */
  public Tensor maximum(Tensor other) {
    return new Tensor(raw.maximum(other.raw));
  }

  /** this + weight × (end − this). */
  public Tensor lerp(Tensor end, double weight) {
    return new Tensor(raw.lerp(end.raw, new Scalar(weight)));
  }

  /** Matrix product, batched over leading dimensions. */
  public Tensor matmul(Tensor other) {
    Meta.together(raw, other.raw);
    return new Tensor(torch.matmul(raw, other.raw));
  }

  /** Softmax over one dimension. */
  public Tensor softmax(int dim) {
    return new Tensor(torch.softmax(raw, dim));
  }

  // ---------------------------------------------------------------- reductions

  /** Sum of all elements, a scalar tensor. */
  public Tensor sum() {
    return new Tensor(raw.sum());
  }

  /** Sum over these dimensions, which vanish. */
  public Tensor sum(long... dims) {
    return new Tensor(raw.sum(dims, false, new ScalarTypeOptional()));
  }

  /** Mean of all elements, a scalar tensor. */
  public Tensor mean() {
    return new Tensor(raw.mean());
  }

  /** Mean over these dimensions, which vanish. */
  public Tensor mean(long... dims) {
    return new Tensor(raw.mean(dims, false, new ScalarTypeOptional()));
  }

  /** In ascending order along one dimension. */
  public Tensor sort(int dim) {
    var sorted = raw.sort(dim, false);
    return new Tensor(new org.bytedeco.pytorch.Tensor(sorted.get0()));
  }

  /** Largest element, a scalar tensor. */
  public Tensor max() {
    return new Tensor(raw.max());
  }

  /** Smallest element, a scalar tensor. */
  public Tensor min() {
    return new Tensor(raw.min());
  }

  /** Sample standard deviation of all elements, a scalar tensor. */
  public Tensor std() {
    return new Tensor(raw.std());
  }

  /** Index of the largest element along one dimension, int64. */
  public Tensor argmax(int dim) {
    return new Tensor(raw.argmax(new LongOptional(dim), false));
  }

  /** Euclidean length of all elements, a scalar tensor. */
  public Tensor norm() {
    return new Tensor(raw.norm());
  }

  /** Whether no element is NaN or infinite. */
  public boolean isFinite() {
    try (Scope scope = Scope.open()) {
      return torch.isfinite(raw).all().item_bool();
    }
  }

  // ---------------------------------------------------------------- in place

  /** Overwrites with the elements of {@code source}, converted; shapes must broadcast. */
  public Tensor copyInPlace(Tensor source) {
    raw.copy_(source.raw);
    return this;
  }

  /** Adds {@code other}. */
  public Tensor addInPlace(Tensor other) {
    raw.add_(other.raw);
    return this;
  }

  /** Adds {@code scale × other}. */
  public Tensor addInPlace(Tensor other, double scale) {
    raw.add_(other.raw, new Scalar(scale));
    return this;
  }

  /** Adds {@code value}. */
  public Tensor addInPlace(double value) {
    raw.add_(new Scalar(value));
    return this;
  }

  /** Multiplies by {@code factor}, broadcast. */
  public Tensor mulInPlace(Tensor factor) {
    raw.mul_(factor.raw);
    return this;
  }

  /** Multiplies by {@code factor}. */
  public Tensor mulInPlace(double factor) {
    raw.mul_(new Scalar(factor));
    return this;
  }

  /** Adds {@code scale × a × b}. */
  public Tensor addcmulInPlace(Tensor a, Tensor b, double scale) {
    raw.addcmul_(a.raw, b.raw, new Scalar(scale));
    return this;
  }

  /** Adds {@code scale × a ÷ b}. */
  public Tensor addcdivInPlace(Tensor a, Tensor b, double scale) {
    raw.addcdiv_(a.raw, b.raw, new Scalar(scale));
    return this;
  }

  /** Moves by {@code weight} towards {@code end}. */
  public Tensor lerpInPlace(Tensor end, double weight) {
    raw.lerp_(end.raw, new Scalar(weight));
    return this;
  }

  /** Sets every element to zero. */
  public Tensor zeroInPlace() {
    raw.zero_();
    return this;
  }

  // ---------------------------------------------------------------- autograd

  /** Marks a leaf as one whose gradient is wanted, or not; returns itself. */
  public Tensor requiresGrad(boolean wanted) {
    raw.set_requires_grad(wanted);
    return this;
  }

  /** Whether gradients flow to or through it. */
  public boolean requiresGrad() {
    return raw.requires_grad();
  }

  /** The same values, cut off from the graph. */
  public Tensor detach() {
    return new Tensor(raw.detach());
  }

  /** A copy of its own. */
  public Tensor copy() {
    return new Tensor(raw.clone());
  }

  /** Whether {@link #grad} holds one. */
  public boolean hasGrad() {
    return raw.grad().defined();
  }

  /**
   * The gradient that {@link #backward} accumulated.
   *
   * @throws IllegalStateException where there is none
   */
  public Tensor grad() {
    org.bytedeco.pytorch.Tensor grad = raw.grad();
    if (!grad.defined()) {
      throw new IllegalStateException(
          "no gradient on a tensor of shape " + Arrays.toString(shape()) + ": call backward first");
    }
    // a handle of its own: libtorch returns a reference into the tensor, which may go first
    return new Tensor(new org.bytedeco.pytorch.Tensor(grad));
  }

  /** Makes {@code grad}, of this shape, the memory that gradients are accumulated in. */
  public void grad(Tensor grad) {
    raw.mutable_grad().put(grad.raw);
  }

  /**
   * Accumulates d(this)/d(leaf) in every leaf; this must be a scalar.
   *
   * @throws IllegalStateException while a {@link Tape} records what gradients must go through
   */
  public void backward() {
    if (BACKWARD_BY_TAPE.get()) {
      throw new IllegalStateException(
          "a tape records parts of this pass: use its backward, else gradients end there");
    }
    raw.backward();
  }

  // ---------------------------------------------------------------- values out

  /** The only element. */
  public double item() {
    return raw.item_double();
  }

  /** All elements, row-major, converted to float. */
  public float[] toFloatArray() {
    try (Scope scope = Scope.open()) {
      float[] values = new float[Math.toIntExact(numel())];
      new FloatPointer(hostData(DType.F32)).get(values);
      return values;
    }
  }

  /** All elements, row-major, converted to double. */
  public double[] toDoubleArray() {
    try (Scope scope = Scope.open()) {
      double[] values = new double[Math.toIntExact(numel())];
      new DoublePointer(hostData(DType.F64)).get(values);
      return values;
    }
  }

  /** All elements, row-major, converted to long. */
  public long[] toLongArray() {
    try (Scope scope = Scope.open()) {
      long[] values = new long[Math.toIntExact(numel())];
      new LongPointer(hostData(DType.I64)).get(values);
      return values;
    }
  }

  /** All elements, row-major, of a uint8 tensor. */
  public byte[] toByteArray() {
    try (Scope scope = Scope.open()) {
      byte[] values = new byte[Math.toIntExact(numel())];
      new BytePointer(hostData(DType.U8)).get(values);
      return values;
    }
  }

  private Pointer hostData(DType type) {
    return detach().to(Device.CPU).to(type).raw.contiguous().data_ptr();
  }

  /**
   * A window of {@code length} bytes from {@code offset} onto the memory of a contiguous tensor of
   * the CPU, in native byte order: for streaming files in and out. Valid only while the tensor
   * lives.
   */
  public ByteBuffer bytes(long offset, int length) {
    long total = numel() * dtype().bytes();
    if (!device().isCpu()
        || !raw.is_contiguous()
        || offset < 0
        || length < 0
        || offset + length > total) {
      throw new IllegalArgumentException(
          "bytes "
              + offset
              + "+"
              + length
              + " of a contiguous tensor of "
              + total
              + " bytes on "
              + device());
    }
    BytePointer data = new BytePointer(raw.data_ptr());
    return data.position(offset)
        .limit(offset + length)
        .asByteBuffer()
        .order(ByteOrder.nativeOrder());
  }

  /**
   * Frees native memory of a tensor that no scope owns (made outside all, or kept to the caller).
   */
  @Override
  public void close() {
    raw.releaseReference();
  }

  /** Element type and shape, such as {@code F32[1, 4, 64, 64]}. */
  @Override
  public String toString() {
    return dtype() + Arrays.toString(shape());
  }

  private static long product(long[] shape) {
    long product = 1;
    for (long size : shape) {
      product *= size;
    }
    return product;
  }
}
