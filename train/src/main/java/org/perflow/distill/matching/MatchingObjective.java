package org.perflow.distill.matching;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.perflow.distill.Part;
import org.perflow.distill.Task;
import org.perflow.flow.Conditioning;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;
import org.perflow.train.Examples;
import org.perflow.train.Objective;

/**
 * What the methods that match a distribution have in common: a few-step student, and beside it a
 * network that keeps up with what the student draws (a fake score, a discriminator or both). Each
 * step updates that network {@code fakeUpdates} times, on examples of its own so that more updates
 * also see more data, and then works out the student's loss. One thread.
 */
abstract class MatchingObjective implements Objective {
  final Task task;
  final Examples data;
  final FewStepStudent student;
  private final int fakeUpdates;
  private final List<Part> parts = new ArrayList<>();

  MatchingObjective(Task task, int studentSteps, int fakeUpdates) {
    this.task = task;
    data = task.data();
    student = new FewStepStudent(task, studentSteps);
    this.fakeUpdates = fakeUpdates;
  }

  /**
   * What the student draws at present, without gradients.
   *
   * @param examples whose captions it was told
   * @param x [B, C, h, w]
   */
  @SuppressWarnings("ArrayRecordComponent") // passed on, never compared
  record Drawn(long[] examples, Conditioning condition, Tensor x) {}

  /** Updates the network beside the student by {@link #fakeLoss}. */
  abstract void update(int rows, Rng rng);

  /** What the network beside the student minimises. */
  abstract Tensor fakeLoss(Drawn drawn, Rng rng);

  /**
   * What the student minimises.
   *
   * @param x its pictures, [B, C, h, w], with gradients
   */
  abstract Tensor studentLoss(Tensor x, Conditioning condition, Step step);

  @Override
  public final Tensor loss(Step step) {
    Rng rng = step.rng();
    for (int i = 0; i < fakeUpdates; i++) {
      update(step.examples().length, rng);
    }
    Conditioning condition = data.conditions(step.examples(), rng);
    return studentLoss(student.data(condition, student.start(condition, rng)), condition, step);
  }

  /** {@link #fakeLoss} of fresh draws. */
  final Tensor fakeLoss(int rows, Rng rng) {
    long[] examples = Tensor.randint(rng, data.size(), rows).toLongArray();
    Conditioning condition = data.conditions(examples, rng);
    return fakeLoss(new Drawn(examples, condition, student.drawn(condition, rng)), rng);
  }

  /** Takes over a part: its state goes into checkpoints, and it is closed with this. */
  final <P extends Part> P own(P part) {
    parts.add(part);
    return part;
  }

  @Override
  public final Map<String, Parameter> parameters() {
    return task.student().parameters();
  }

  @Override
  public final int examples() {
    return data.size();
  }

  @Override
  public final Map<String, Tensor> state() {
    Map<String, Tensor> state = new LinkedHashMap<>();
    parts.forEach(part -> state.putAll(part.state()));
    return state;
  }

  @Override
  public final void supervise() {
    parts.forEach(Part::supervise);
  }

  @Override
  public final void close() {
    parts.forEach(Part::close);
  }
}
