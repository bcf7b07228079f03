package org.perflow.distill.matching;

import java.util.LinkedHashMap;
import java.util.Map;
import java.util.function.Supplier;
import org.perflow.distill.Net;
import org.perflow.distill.Part;
import org.perflow.distill.Task;
import org.perflow.flow.Conditioning;
import org.perflow.flow.NoiseSchedule;
import org.perflow.flow.PredictionType;
import org.perflow.memory.Beside;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter;

/**
 * The score of what the student draws at present: the teacher's network, all of it or low-rank
 * factors, trained to denoise the student's samples. Owns network and optimiser. One thread.
 */
final class FakeScore implements Part {
  private final Net net;
  private final Auxiliary training;
  private final NoiseSchedule schedule;
  private final PredictionType prediction;

  /** How the loss weighs noise levels. */
  enum Weight {
    NONE,
    /** α². */
    SIGNAL
  }

  private final Weight weight;

  /** For the plan of memory. */
  static Beside beside(int rank) {
    return rank == 0 ? new Beside(1, 0) : new Beside(Beside.SMALL, 1);
  }

  /** A network that starts as the teacher: low-rank factors on it, or at rank 0 all weights. */
  static Net network(Task task, int rank) {
    try (Rng rng = Rng.seeded(task.train().seed())) {
      Net teacher = task.teacher().net();
      return rank == 0 ? teacher.copy() : teacher.lora(rank, rng);
    }
  }

  /**
   * Takes over {@code net}.
   *
   * @param learningRate 0 = the student's peak
   * @param beside further weights that its updates train, such as a discriminator's on its features
   */
  FakeScore(Task task, Net net, double learningRate, Weight weight, Map<String, Parameter> beside) {
    this.net = net;
    schedule = task.teacher().schedule();
    prediction = task.teacher().prediction();
    this.weight = weight;
    Map<String, Parameter> all = new LinkedHashMap<>(net.parameters());
    beside.forEach((name, parameter) -> all.put("beside." + name, parameter));
    training = new Auxiliary(task, "fake", all, learningRate);
  }

  /** The network, to be asked; its weights change with every update. */
  Net net() {
    return net;
  }

  /** One update by {@link #loss}, or a sum that holds it. */
  void update(Supplier<Tensor> loss) {
    training.step(loss);
  }

  /** Mean square error of ε at evenly drawn levels of what the student drew (its eq. 6 in DMD). */
  Tensor loss(Tensor drawn, Conditioning condition, Rng rng) {
    int rows = (int) drawn.size(0);
    Levels levels = Levels.drawn(schedule, prediction, 0, 1, rows, rng);
    Tensor noise = Tensor.randnLike(rng, drawn);
    Tensor error =
        levels.noise(net.given(condition), levels.noised(drawn, noise)).sub(noise); // [B, ...]
    return (weight == Weight.SIGNAL ? levels.weighted(error, levels::alpha) : error)
        .square()
        .mean();
  }

  /** For checkpoints. */
  @Override
  public Map<String, Tensor> state() {
    return training.state();
  }

  @Override
  public void supervise() {
    training.supervise();
  }

  @Override
  public void close() {
    training.close();
    net.close();
  }
}
