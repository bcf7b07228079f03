package org.perflow.serve;

import java.awt.image.BufferedImage;
import java.time.Duration;
import java.time.Instant;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.jspecify.annotations.Nullable;
import org.perflow.serve.RefusedException.Reason;

/** A request on its way through an {@link Engine}. Thread-safe; what changes tells who waits. */
public final class Job {
  /** From waiting to one of the last three. */
  public enum State {
    WAITING,
    DRAWING,
    DONE,
    FAILED,
    CANCELLED;

    /** Whether nothing changes any more. */
    public boolean isOver() {
      return compareTo(DRAWING) > 0;
    }
  }

  /**
   * A job at one moment.
   *
   * @param version grows with every change
   * @param step of the batch that is drawn or was drawn last, from 1; 0 before the first is done
   * @param steps of a picture; 0 as long as that is not known
   * @param progress of the whole job, 0 to 1
   * @param preview of the picture that is drawn; null where there is none yet
   * @param pictures done so far, in order
   * @param error why it is over without pictures
   * @param notes on what was drawn otherwise than asked
   */
  public record Snapshot(
      long version,
      State state,
      int step,
      int steps,
      double progress,
      @Nullable BufferedImage preview,
      List<DrawnPicture> pictures,
      @Nullable RefusedException error,
      List<String> notes) {}

  private final String id;
  private final JobRequest request;
  private final Caller caller;
  private final Instant accepted = Instant.now();

  private long version;
  private State state = State.WAITING;
  private int taken;
  private int inBatch;
  private int step;
  private int steps;
  private int watchers;
  private int waiting;
  private boolean kept;
  private @Nullable BufferedImage preview;
  private final List<DrawnPicture> pictures = new ArrayList<>();
  private final List<String> notes = new ArrayList<>();
  private @Nullable RefusedException error;
  private @Nullable Instant begun;
  private @Nullable Instant ended;
  private Instant left = Instant.now();

  Job(String id, JobRequest request, Caller caller) {
    this.id = id;
    this.request = request;
    this.caller = caller;
  }

  /** Its name, which nobody guesses. */
  public String id() {
    return id;
  }

  /** What is to be drawn. */
  public JobRequest request() {
    return request;
  }

  /** Who asked. */
  public Caller caller() {
    return caller;
  }

  /** When it was taken on. */
  public Instant accepted() {
    return accepted;
  }

  /** How it stands. */
  public synchronized Snapshot now() {
    int total = request.count();
    double part = steps == 0 ? 0 : (double) inBatch * step / steps;
    return new Snapshot(
        version,
        state,
        step,
        steps,
        state == State.DONE ? 1 : Math.min(1, (pictures.size() + part) / total),
        preview,
        List.copyOf(pictures),
        error,
        List.copyOf(notes));
  }

  /** How it stands once it is newer than {@code seen} or over, or {@code patience} has passed. */
  public synchronized Snapshot await(long seen, Duration patience) throws InterruptedException {
    long end = System.nanoTime() + patience.toNanos();
    while (version <= seen && !state.isOver()) {
      long left = TimeUnit.NANOSECONDS.toMillis(end - System.nanoTime());
      if (left <= 0) {
        break;
      }
      wait(left);
    }
    return now();
  }

  // ---------------------------------------------------------------- who waits

  /** Somebody waits for it. */
  public synchronized void attach() {
    waiting++;
  }

  /** Somebody who {@link #attach waited} does not any more. */
  public synchronized void detach() {
    waiting--;
    left = Instant.now();
  }

  /** Somebody looks at its previews from here on; before that none are made. */
  public synchronized void watch() {
    watchers++;
  }

  /** Somebody who {@link #watch looked} does not any more. */
  public synchronized void unwatch() {
    watchers--;
  }

  synchronized boolean isWatched() {
    return watchers > 0 && !state.isOver();
  }

  /** Whether it is of no use since {@code grace} or longer. */
  synchronized boolean isAbandoned(Duration grace) {
    return caller.waits()
        && waiting == 0
        && !state.isOver()
        && !Instant.now().isBefore(left.plus(grace));
  }

  synchronized boolean isOver() {
    return state.isOver();
  }

  /** What came of it is fetched later: it stays until it expires. */
  public synchronized void keep() {
    kept = true;
  }

  /**
   * Whether what came of it is of no use any more: {@code keep} has passed, or whoever waited has
   * it, and nobody can ask for it again.
   */
  synchronized boolean isExpired(Duration keep) {
    if (ended == null) {
      return false;
    }
    boolean handedOver = caller.waits() && caller.key() == null && !kept && waiting == 0;
    return handedOver || ended.plus(keep).isBefore(Instant.now());
  }

  /** When it was begun; null before. */
  public synchronized @Nullable Instant begun() {
    return begun;
  }

  // ---------------------------------------------------------------- what the engine does with it

  /** Takes up to {@code most} of its pictures to be drawn; the index of the first. */
  synchronized int take(int most) {
    int first = taken;
    taken = Math.min(request.count(), taken + most);
    inBatch = taken - first;
    return first;
  }

  synchronized boolean isTaken() {
    return taken == request.count();
  }

  synchronized void begin() {
    if (state == State.WAITING) {
      state = State.DRAWING;
      begun = Instant.now();
      changed();
    }
  }

  synchronized void progress(int done, int total, @Nullable BufferedImage seen) {
    step = done;
    steps = total;
    preview = seen == null ? preview : seen;
    changed();
  }

  /** The next picture is done; the last one ends the job. True where it did. */
  synchronized boolean drawn(DrawnPicture picture) {
    if (state.isOver()) {
      return false;
    }
    pictures.add(picture);
    inBatch = Math.max(0, inBatch - 1);
    if (pictures.size() == request.count()) {
      end(State.DONE);
    } else if (inBatch == 0) {
      step = 0;
    }
    changed();
    return state == State.DONE;
  }

  /** It was done before. */
  synchronized void restore(List<DrawnPicture> done) {
    pictures.addAll(done);
    taken = request.count();
    end(State.DONE);
  }

  synchronized void note(String text) {
    if (!notes.contains(text)) {
      notes.add(text);
    }
  }

  synchronized boolean fail(RefusedException why) {
    if (state.isOver()) {
      return false;
    }
    error = why;
    end(State.FAILED);
    return true;
  }

  synchronized boolean cancel(String why) {
    if (state.isOver()) {
      return false;
    }
    error = new RefusedException(Reason.CANCELLED, why);
    end(State.CANCELLED);
    return true;
  }

  private void end(State last) {
    state = last;
    ended = Instant.now();
    preview = null;
    changed();
  }

  private void changed() {
    version++;
    notifyAll();
  }
}
