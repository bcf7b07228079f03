package org.perflow.serve;

import java.security.SecureRandom;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.Iterator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Optional;
import java.util.function.Consumer;
import java.util.function.ToIntFunction;
import org.perflow.serve.RefusedException.Reason;

/**
 * All jobs that are known: those that wait, in order and no more than allowed, those that are
 * drawn, and those that are over, until they expire. Thread-safe.
 */
final class JobQueue {
  /** As long a client may have been gone before its job is: a repetition finds it until then. */
  private static final Duration GRACE = Duration.ofSeconds(2);

  private static final SecureRandom RANDOM = new SecureRandom();

  private final int most;
  private final Duration keep;
  private final Map<String, Job> known = new LinkedHashMap<>();
  private final List<Job> waiting = new ArrayList<>();
  private boolean closed;
  private boolean ended;

  JobQueue(int most, Duration keep) {
    this.most = most;
    this.keep = keep;
  }

  /** Pictures of one job that are drawn together, {@code first} the index of the first one. */
  record Share(Job job, int first, int count) {}

  /** A name that nobody guesses. */
  static String newId() {
    byte[] bytes = new byte[16];
    RANDOM.nextBytes(bytes);
    return HexFormat.of().formatHex(bytes);
  }

  /**
   * Takes the request on, or finds the job that it repeats. The caller is attached to it.
   *
   * @param first is done with a new job before anybody knows of it
   * @throws RefusedException where the queue is full or closed, or the key was another request's
   */
  synchronized Job submit(JobRequest request, Caller caller, Consumer<Job> first) {
    Optional<Job> repeated = repeated(caller);
    if (repeated.isPresent()) {
      Job job = repeated.get();
      if (!job.caller().fingerprint().equals(caller.fingerprint())) {
        throw new RefusedException(
            Reason.CONFLICT,
            "this idempotency key came with another request before; take a new one");
      }
      job.attach();
      return job;
    }
    refuseClosed();
    waiting.removeIf(Job::isOver);
    if (waiting.size() >= most) {
      throw new RefusedException(
          Reason.QUEUE_FULL, most + " jobs wait already, which is all that may; try again later");
    }
    Job job = new Job(newId(), request, caller);
    first.accept(job);
    job.attach();
    restore(job);
    return job;
  }

  /** Takes on a job of before, which waits unless it is over. */
  synchronized void restore(Job job) {
    known.put(job.id(), job);
    if (!job.isOver()) {
      waiting.add(job);
      notifyAll();
    }
  }

  synchronized void refuseClosed() {
    if (closed) {
      throw new RefusedException(Reason.STOPPING, "the server is stopping; ask another");
    }
  }

  /**
   * By key, whatever became of it unless it failed; without one, only where nobody waits for it.
   */
  private Optional<Job> repeated(Caller caller) {
    return known.values().stream()
        .filter(job -> job.caller().client().equals(caller.client()))
        .filter(
            job ->
                caller.key() == null
                    ? job.isAbandoned(Duration.ZERO)
                        && job.caller().fingerprint().equals(caller.fingerprint())
                    : Objects.equals(job.caller().key(), caller.key())
                        && (!job.isOver() || job.now().state() == Job.State.DONE))
        .findFirst();
  }

  synchronized Optional<Job> find(String id) {
    return Optional.ofNullable(known.get(id));
  }

  /** Jobs that are not over, oldest first. */
  synchronized List<Job> unfinished() {
    return known.values().stream().filter(job -> !job.isOver()).toList();
  }

  /** Jobs that wait. */
  synchronized int length() {
    return waiting().size();
  }

  /** Jobs that wait for that model. */
  synchronized long length(String model) {
    return waiting().stream().filter(job -> job.request().model().equals(model)).count();
  }

  /** Those jobs, oldest first. */
  synchronized List<Job> waiting() {
    waiting.removeIf(Job::isOver);
    return List.copyOf(waiting);
  }

  /** How many jobs wait before {@code job}; 0 for one that does not. */
  synchronized int before(Job job) {
    return Math.max(0, waiting.indexOf(job));
  }

  /**
   * Waits for work: pictures of the job that has waited longest, and of others that may be drawn
   * with them, at most as many as {@code most} allows for such requests. Empty once there is none
   * and never will be.
   */
  synchronized List<Share> take(ToIntFunction<JobRequest> most) throws InterruptedException {
    waiting.removeIf(Job::isOver);
    while (waiting.isEmpty()) {
      if (ended) {
        return List.of();
      }
      wait();
      waiting.removeIf(Job::isOver);
    }
    JobRequest first = waiting.get(0).request();
    Object kind = first.kind();
    int room = Math.max(1, most.applyAsInt(first));
    List<Share> shares = new ArrayList<>();
    for (Iterator<Job> jobs = waiting.iterator(); jobs.hasNext() && room > 0; ) {
      Job job = jobs.next();
      if (job.request().kind().equals(kind)) {
        int from = job.take(room);
        int count = Math.min(room, job.request().count() - from);
        shares.add(new Share(job, from, count));
        room -= count;
        if (job.isTaken()) {
          jobs.remove();
        }
      }
    }
    return shares;
  }

  /** Jobs that nobody waits for any more. */
  synchronized List<Job> abandoned() {
    return known.values().stream().filter(job -> job.isAbandoned(GRACE)).toList();
  }

  /** Forgets what has expired, and says what that is. */
  synchronized List<Job> expire() {
    List<Job> expired = known.values().stream().filter(job -> job.isExpired(keep)).toList();
    expired.forEach(job -> known.remove(job.id()));
    return expired;
  }

  /** Takes no more jobs. */
  synchronized void close() {
    closed = true;
  }

  /** Nothing comes any more: {@link #take} ends once nothing waits. */
  synchronized void end() {
    closed = true;
    ended = true;
    notifyAll();
  }
}
