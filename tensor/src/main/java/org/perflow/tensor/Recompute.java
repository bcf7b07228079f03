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
 * Gradient checkpointing (Chen et al., arXiv 1604.06174): while a tape records, a {@link #block}
 * keeps only its inputs and its output, and {@link #backward} computes the block a second time to
 * get its gradients. Memory falls to one block's activations for a third more computation. Libtorch
 * offers no custom autograd functions to Java, hence the explicit tape: use {@link #backward} in
 * place of {@link Tensor#backward}. Blocks do not nest and must be deterministic. A tape belongs to
 * one thread.
 *
 * <pre>{@code
 * try (Scope scope = Scope.open(); Recompute tape = Recompute.record()) {
 *   tape.backward(loss(model.forward(x)));
 * }
 * }</pre>
 */
public final class Recompute implements AutoCloseable {
  private static final ThreadLocal<@Nullable Recompute> ACTIVE = new ThreadLocal<>();

  /** Part of a forward pass: a pure function of its inputs and of weights. */
  public interface Block {
    Tensor apply(List<Tensor> inputs);
  }

  private record Segment(Block block, List<Tensor> inputs, Tensor output) {}

  private final List<Segment> segments = new ArrayList<>();

  private Recompute() {}

  /** Records the blocks that this thread runs until closed. */
  public static Recompute record() {
    if (ACTIVE.get() != null) {
      throw new IllegalStateException("a recomputation tape already records on this thread");
    }
    Recompute tape = new Recompute();
    ACTIVE.set(tape);
    return tape;
  }

  /**
   * Runs {@code block}: so that it can be computed again while a tape records, plainly otherwise;
   * without gradients, too, all but its output is freed at once.
   */
  public static Tensor block(Block block, Tensor... inputs) {
    Recompute tape = ACTIVE.get();
    List<Tensor> list = Arrays.asList(inputs);
    boolean differentiated = GradMode.is_enabled();
    if (tape == null && differentiated) {
      return block.apply(list);
    }
    Tensor output;
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      output = scope.keep(block.apply(list).detach());
    }
    if (tape == null || !differentiated) {
      return output; // nothing will ask for what the block computed on the way
    }
    tape.segments.add(new Segment(block, list, output.requiresGrad(true)));
    return output;
  }

  /** Accumulates d(loss)/d(leaf) in every leaf, through the recorded blocks, latest first. */
  public void backward(Tensor loss) {
    ACTIVE.remove(); // computing a block again must not record it
    Map<Tensor, Tensor> pending = new IdentityHashMap<>();
    IdentityHashMap<Tensor, Integer> firstUse = new IdentityHashMap<>();
    for (int i = segments.size() - 1; i >= 0; i--) {
      for (Tensor input : segments.get(i).inputs()) {
        firstUse.put(input, i);
      }
    }
    loss.raw.backward(
        Tensor.full(1).to(loss.dtype()).raw,
        new BoolOptional(true), // the loss may share parts of the graph with the blocks' inputs
        false,
        new TensorArrayRefOptional());
    for (int i = segments.size() - 1; i >= 0; i--) {
      Segment segment = segments.get(i);
      if (segment.output().hasGrad()) {
        backward(segment, pending);
      }
      // What lies between the blocks is ordinary autograd. An input that no earlier block uses has
      // its whole gradient now, and the blocks that it was computed from come next.
      for (Tensor input : segment.inputs()) {
        if (firstUse.get(input) == i && pending.containsKey(input)) {
          input.raw.backward(
              pending.remove(input).raw,
              new BoolOptional(true), // inputs may share parts of the graph
              false,
              new TensorArrayRefOptional());
        }
      }
    }
  }

  private static void backward(Segment segment, Map<Tensor, Tensor> pending) {
    try (Scope scope = Scope.open()) {
      List<Tensor> inputs = new ArrayList<>();
      for (Tensor input : segment.inputs()) {
        inputs.add(input.detach().requiresGrad(input.requiresGrad()));
      }
      Tensor output = segment.block().apply(inputs);
      output.raw.backward(
          segment.output().grad().raw, new BoolOptional(), false, new TensorArrayRefOptional());
      for (int i = 0; i < inputs.size(); i++) {
        if (inputs.get(i).hasGrad()) {
          Tensor input = segment.inputs().get(i);
          Tensor gradient = inputs.get(i).grad();
          if (!input.raw.is_leaf()) {
            pending.merge(input, scope.keep(gradient), (a, b) -> scope.keep(a.add(b)));
          } else if (input.hasGrad()) {
            input.grad().addInPlace(gradient);
          } else {
            input.grad(gradient);
          }
        }
      }
    }
  }

  @Override
  public void close() {
    ACTIVE.remove();
  }
}
