package org.perflow.examples;

import java.io.IOException;
import java.nio.file.Path;
import org.perflow.accelerate.Accelerator;
import org.perflow.train.TrainListener;
import org.perflow.train.TrainOptions;

/**
 * Makes a four-step student of a diffusers folder: {@code AccelerateFolder models/emoji-64
 * data/emoji-64 runs/mine 500}.
 */
public final class AccelerateFolder {
  private AccelerateFolder() {}

  /** Takes the teacher's folder, a folder with {@code train-*.tar}, the run's folder and steps. */
  public static void main(String[] args) throws IOException {
    if (args.length != 4) {
      throw new IllegalArgumentException(
          "want TEACHER DATA OUT STEPS; got " + args.length + " words");
    }
    Accelerator.Student student =
        Accelerator.of(Path.of(args[0]))
            .data(Path.of(args[1]))
            .train(TrainOptions.DEFAULTS.withSteps(Integer.parseInt(args[3])))
            .out(Path.of(args[2]))
            .run(new Losses());
    System.out.println("the student is in " + student.folder());
  }

  /** Prints a line whenever the trainer reports. */
  private static final class Losses implements TrainListener {
    @Override
    public void onStep(Report report) {
      System.out.printf("%3.0f %%, loss %.4f%n", 100 * report.progress(), report.loss());
    }
  }
}
