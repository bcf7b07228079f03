package org.perflow.tensor;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.pytorch.BoolOptional;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.TensorArrayRefOptional;
import org.jspecify.annotations.Nullable;

/**
 * A forward pass some parts of which are differentiated in a way of their own: shared out among
 * threads ({@link Rows}), or computed a second time ({@link #block}). Libtorch offers no custom
 * autograd functions to Java, hence the explicit tape: while one records, use its {@link #backward}
 * in place of {@link Tensor#backward}. A tape belongs to one thread. Tapes nest: what an inner one
 * differentiates must not lead into what the outer one records.
 *
 * <pre>{@code
 * try (Scope scope = Scope.open(); Tape tape = Tape.record(Tape.Way.SHARED)) {
 *   tape.backward(loss(model.forward(x)));
 * }
 * }</pre>
 */
public final class Tape implements AutoCloseable {
  /** What is done besides plain autograd. */
  public enum Way {
    /** Nothing. */
    PLAIN,
    /**
     * A batch whose rows do not know of each other goes forward and backward in shares, one a
     * thread, each of which sums up gradients of its own: as many times their memory.
     */
    SHARED,
    /**
     * Gradient checkpointing (Chen et al., arXiv 1604.06174): of each {@link #block} only inputs
     * and output are kept. Memory falls to one block's activations for a third more computation.
     */
    RECOMPUTED
  }

  /** Part of a forward pass: a pure function of its inputs and of weights. */
  public interface Block {
    Tensor apply(List<Tensor> inputs);
  }

  /** Part of the recorded pass, whose output is a leaf of the graph behind it. */
  interface Segment extends AutoCloseable {
    /** What gradients go to, weights aside. */
    List<Tensor> inputs();

    Tensor output();

    /**
     * Adds to the gradients of weights, and returns that of each input, null for none, owned by the
     * caller's scope; called once the output has a gradient.
     */
    List<@Nullable Tensor> differentiate();

    @Override
    void close();
  }

  private static final ThreadLocal<@Nullable Tape> ACTIVE = new ThreadLocal<>();

  private final Way way;
  private final @Nullable Tape outer;
  private final List<Segment> segments = new ArrayList<>();

  private Tape(Way way, @Nullable Tape outer) {
    this.way = way;
    this.outer = outer;
  }

  /** Records what this thread computes until closed. */
  public static Tape record(Way way) {
    Tape tape = new Tape(way, ACTIVE.get());
    ACTIVE.set(tape);
    if (way != Way.SHARED) {
      Natives.shareMatrices(1);
    }
    Tensor.BACKWARD_BY_TAPE.set(false);
    return tape;
  }

  /** Where segments of that way go now; null where none are recorded. */
  static @Nullable Tape recording(Way way) {
    Tape tape = ACTIVE.get();
    return tape != null && tape.way == way && GradMode.is_enabled() ? tape : null;
  }

  /** Whether this thread records. */
  static boolean isOpen() {
    return ACTIVE.get() != null;
  }

  void add(Segment segment) {
    segments.add(segment);
    Tensor.BACKWARD_BY_TAPE.set(true);
  }

  /**
   * Runs {@code block}: so that it can be computed again while a tape {@link Way#RECOMPUTED}
   * records, plainly otherwise; without gradients all but its output is freed at once. Blocks do
   * not nest and must be deterministic.
   */
  public static Tensor block(Block block, Tensor... inputs) {
    Tape tape = recording(Way.RECOMPUTED);
    List<Tensor> list = Arrays.asList(inputs);
    if (tape == null && GradMode.is_enabled()) {
      return block.apply(list);
    }
    Tensor output;
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      output = scope.keep(block.apply(list).detach());
    }
    if (tape != null) {
      tape.add(new Recomputed(block, list, output.requiresGrad(true)));
    }
    return output; // else nothing will ask for what the block computed on the way
  }

  /** Accumulates d(loss)/d(leaf) in every leaf, through the recorded segments, latest first. */
  public void backward(Tensor loss) {
    leave(); // computing a block again must not record it
    Map<Tensor, Tensor> pending = new IdentityHashMap<>();
    IdentityHashMap<Tensor, Integer> firstUse = new IdentityHashMap<>();
    for (int i = segments.size() - 1; i >= 0; i--) {
      for (Tensor input : segments.get(i).inputs()) {
        firstUse.put(input, i);
      }
    }
    // what lies between the segments is ordinary autograd, whose parts may be shared
    backward(loss, Tensor.full(1).to(loss.dtype()), !segments.isEmpty());
    for (int i = segments.size() - 1; i >= 0; i--) {
      Segment segment = segments.get(i);
      if (segment.output().hasGrad()) {
        differentiate(segment, pending);
      }
      // An input that no earlier segment uses has its whole gradient now, and the segments that it
      // was computed from come next.
      for (Tensor input : segment.inputs()) {
        if (firstUse.get(input) == i && pending.containsKey(input)) {
          backward(input, pending.remove(input), true);
        }
      }
    }
  }

  static void backward(Tensor output, Tensor gradient, boolean again) {
    output.raw.backward(gradient.raw, new BoolOptional(again), false, new TensorArrayRefOptional());
  }

  private static void differentiate(Segment segment, Map<Tensor, Tensor> pending) {
    try (Scope scope = Scope.open()) {
      List<@Nullable Tensor> gradients = segment.differentiate();
      for (int i = 0; i < gradients.size(); i++) {
        Tensor input = segment.inputs().get(i);
        Tensor gradient = gradients.get(i);
        if (gradient != null && input.raw.is_leaf()) {
          accumulate(input, gradient);
        } else if (gradient != null) {
          pending.merge(input, scope.keep(gradient), (a, b) -> scope.keep(a.add(b)));
        }
      }
    }
  }

  /** Adds to the gradient of a leaf, as autograd does. */
  static void accumulate(Tensor leaf, Tensor gradient) {
    try (NoGrad guard = NoGrad.enter()) {
      if (leaf.hasGrad()) {
        leaf.grad().addInPlace(gradient);
      } else {
        leaf.grad(gradient);
      }
    }
  }

  private record Recomputed(Block block, List<Tensor> inputs, Tensor output) implements Segment {
    @Override
    public List<@Nullable Tensor> differentiate() {
      List<Tensor> leaves = new ArrayList<>();
      for (Tensor input : inputs) {
        leaves.add(input.detach().requiresGrad(input.requiresGrad()));
      }
      backward(block.apply(leaves), output.grad(), false);
      List<@Nullable Tensor> gradients = new ArrayList<>();
      for (Tensor leaf : leaves) {
        gradients.add(leaf.hasGrad() ? leaf.grad() : null);
      }
      return gradients;
    }

    @Override
    public void close() {} // its tensors belong to the scope of the pass
  }

  @Override
  public void close() {
    if (ACTIVE.get() == this) {
      leave();
    }
    segments.forEach(Segment::close);
    if (way != Way.SHARED) {
      Natives.shareMatrices(-1);
    }
  }

  private void leave() {
    ACTIVE.set(outer);
    Tensor.BACKWARD_BY_TAPE.set(outer != null && !outer.segments.isEmpty());
  }
}
