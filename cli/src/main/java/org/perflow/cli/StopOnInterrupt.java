package org.perflow.cli;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.perflow.train.Trainer;

/**
 * While open, Ctrl-C (or SIGTERM) lets the trainer finish its step and write a checkpoint before
 * the program ends: the virtual machine waits for its shutdown hooks, and this one waits for the
 * thread that trains.
 */
final class StopOnInterrupt implements AutoCloseable {
  private static final int PATIENCE_SECONDS = 120;

  private final CountDownLatch closed = new CountDownLatch(1);
  private final Thread hook;

  StopOnInterrupt(Trainer trainer) {
    hook =
        new Thread(
            () -> {
              trainer.stop();
              try {
                if (!closed.await(PATIENCE_SECONDS, TimeUnit.SECONDS)) {
                  System.err.println("the step did not end in time; no new checkpoint was written");
                }
              } catch (InterruptedException e) {
                Thread.currentThread().interrupt();
              }
            },
            "stop on interrupt");
    Runtime.getRuntime().addShutdownHook(hook);
  }

  @Override
  public void close() {
    closed.countDown();
    try {
      Runtime.getRuntime().removeShutdownHook(hook);
    } catch (IllegalStateException e) {
      // The virtual machine is going down: the hook itself is what waits for us.
    }
  }
}
