package org.perflow.serve.http;

import io.javalin.http.Context;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Base64;
import java.util.function.Consumer;
import org.eclipse.jetty.ee10.servlet.ServletContextRequest;
import org.eclipse.jetty.io.Connection;
import org.eclipse.jetty.io.EndPoint;
import org.eclipse.jetty.util.BufferUtil;
import org.perflow.serve.DrawnPicture;
import org.perflow.serve.Job;

/**
 * An open request that waits for a job, and sees when its client is gone: nothing else tells, as a
 * server that neither reads nor writes does not notice.
 */
final class Waiting {
  /** As long it may take to notice. */
  private static final Duration LOOK = Duration.ofMillis(250);

  private Waiting() {}

  /** The client does not wait any more. */
  static final class ClientGoneException extends RuntimeException {
    private static final long serialVersionUID = 1;

    ClientGoneException() {
      super(null, null, false, false);
    }
  }

  /**
   * How {@code job} ended, the request having been attached to it, and detached in the end.
   *
   * @throws Problem where it ended without pictures
   */
  static Job.Snapshot forResult(Context ctx, Job job) {
    Job.Snapshot end = forEnd(ctx, job, now -> {});
    if (end.error() != null) {
      throw Problem.of(end.error());
    }
    return end;
  }

  /** The same however it ended; {@code each} is told of every change, the last included. */
  static Job.Snapshot forEnd(Context ctx, Job job, Consumer<Job.Snapshot> each) {
    ServletContextRequest request = ServletContextRequest.getServletContextRequest(ctx.req());
    Connection connection = request.getConnectionMetaData().getConnection();
    try {
      Job.Snapshot now = job.now();
      each.accept(now);
      while (!now.state().isOver()) {
        Job.Snapshot next = job.await(now.version(), LOOK);
        if (next.version() != now.version()) {
          each.accept(next);
        }
        now = next;
        if (!now.state().isOver() && isGone(connection)) {
          throw new ClientGoneException();
        }
      }
      return now;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new Problem(503, "the server is stopping", null);
    } finally {
      job.detach();
    }
  }

  /** Whether nothing more comes; what comes early belongs to the client's next request. */
  private static boolean isGone(Connection connection) {
    EndPoint end = connection.getEndPoint();
    if (!end.isOpen() || end.isInputShutdown()) {
      return true;
    }
    if (!(connection instanceof Connection.UpgradeTo next)) {
      return false; // HTTP/2 notices by itself
    }
    try {
      ByteBuffer early = BufferUtil.allocate(64);
      int read = end.fill(early);
      if (read > 0) {
        next.onUpgradeTo(early);
      }
      return read < 0;
    } catch (IOException e) {
      return true;
    }
  }

  static String base64(DrawnPicture picture) {
    return Base64.getEncoder().encodeToString(picture.file());
  }

  /** Writes while it waits, or says that nobody reads. */
  interface Writing {
    void write() throws IOException;
  }

  static void writing(Writing writing) {
    try {
      writing.write();
    } catch (IOException | UncheckedIOException e) {
      throw new ClientGoneException();
    }
  }
}
