package org.perflow.cli.terminal;

import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.perflow.train.TrainListener;

/**
 * While something is trained, Ctrl-C (or SIGTERM) lets the trainer finish its step and write a
 * checkpoint before the program ends: the virtual machine waits for its shutdown hooks, and this
 * one waits for the thread that trains.
 */
public final class StopOnInterrupt implements TrainListener, AutoCloseable {
  private static final int PATIENCE_SECONDS = 120;

  private volatile boolean asked;
  private @Nullable Thread hook;
  private CountDownLatch ended = new CountDownLatch(1);

  @Override
  public void onStart(String name) {
    CountDownLatch end = new CountDownLatch(1);
    ended = end;
    hook = new Thread(() -> stop(end), "stop on interrupt");
    Runtime.getRuntime().addShutdownHook(hook);
  }

  private void stop(CountDownLatch end) {
    asked = true;
    try {
      if (!end.await(PATIENCE_SECONDS, TimeUnit.SECONDS)) {
        System.err.println("the step did not end in time; no new checkpoint was written");
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }

  @Override
  public boolean wantsStop() {
    return asked;
  }

  @Override
  public void onEnd() {
    close();
  }

  @Override
  public void close() {
    ended.countDown();
    if (hook == null) {
      return;
    }
    try {
      Runtime.getRuntime().removeShutdownHook(hook);
    } catch (IllegalStateException e) {
      // The virtual machine is going down: the hook itself is what waits for us.
    }
    hook = null;
  }
}
