package org.perflow.hub;

import java.io.Closeable;
import java.io.IOException;
import java.io.InputStream;
import java.time.Duration;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledFuture;
import java.util.concurrent.TimeUnit;

/**
 * Closes a connection that brings nothing for a while, so that whoever reads from it goes on:
 * Java's client waits for a body for ever.
 */
final class Silence implements Closeable {
  private static final ScheduledExecutorService CLOCK =
      Executors.newSingleThreadScheduledExecutor(
          work -> {
            Thread thread = new Thread(work, "hub-silence");
            thread.setDaemon(true);
            return thread;
          });

  private final long nanos;
  private final InputStream body;
  private final ScheduledFuture<?> check;
  private volatile long last = System.nanoTime();

  /** Watches over {@code body} until closed. */
  Silence(Duration longest, InputStream body) {
    this.nanos = longest.toNanos();
    this.body = body;
    this.check =
        CLOCK.scheduleWithFixedDelay(this::check, nanos / 4, nanos / 4, TimeUnit.NANOSECONDS);
  }

  /** Something came. */
  void heard() {
    last = System.nanoTime();
  }

  private void check() {
    if (System.nanoTime() - last > nanos) {
      try {
        body.close();
      } catch (IOException e) {
        last = System.nanoTime(); // next time
      }
    }
  }

  @Override
  public void close() {
    check.cancel(false);
  }
}
