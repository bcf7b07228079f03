package org.perflow.train;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.jspecify.annotations.Nullable;
import org.perflow.io.FolderLock;

/**
 * One training in a folder of its own: besides what {@link Trainer} writes it leaves TensorBoard
 * events and {@code training.csv}, and at the end what is made of the averaged weights.
 *
 * @param name of what is trained, for the listeners
 * @param config what the run is told
 * @param folder of the run
 * @param resume whether to go on from the newest checkpoint of the folder
 * @param listeners told of it, on the thread that trains
 */
public record TrainingRun(
    String name, RunConfig config, Path folder, boolean resume, List<TrainListener> listeners) {

  /** What is done with the averaged weights at the end. */
  @FunctionalInterface
  public interface Saver {
    void save() throws IOException;
  }

  /** Loss over the run in {@code folder}: {@link TrainingCurve}. */
  public static Path curve(Path folder) {
    return folder.resolve("training.csv");
  }

  /**
   * Trains, then saves; meanwhile the folder is locked for others.
   *
   * @param sampler draws the sample grids; null for none
   * @throws IllegalArgumentException where there is nothing to resume, or what can be resumed was
   *     trained by other settings
   * @throws DivergedException where loss or gradients are NaN or infinite
   * @throws StoppedException where a listener wanted to stop; there is a checkpoint then
   */
  public Trainer.Result run(Objective objective, Trainer.@Nullable Sampler sampler, Saver saver)
      throws IOException {
    try (FolderLock lock = FolderLock.take(folder);
        Trainer trainer = new Trainer(objective, config, folder);
        TensorBoardWriter board = new TensorBoardWriter(folder.resolve("tensorboard"));
        TrainingCurve curve = new TrainingCurve(curve(folder))) {
      trainer.name(name).listen(board).listen(curve);
      listeners.forEach(trainer::listen);
      if (sampler != null) {
        trainer.sampler(sampler);
      }
      if (resume && !trainer.resume()) {
        throw new IllegalArgumentException(
            folder + ": nothing to resume, there is no checkpoint; start it anew");
      }
      Trainer.Result result = trainer.run();
      trainer.withAverages(saver::save);
      return result;
    }
  }
}
