package org.perflow.hub;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.net.URI;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.function.LongConsumer;

/**
 * Fetches a file in pieces, several at a time, and makes it a blob once its hash is what the hub
 * said. Pieces of an earlier fetch are kept; where the hash shows that they are damaged, or the
 * network was, it is fetched once more from the beginning.
 */
final class BlobDownload {
  private final HubClient client;
  private final HubName name;
  private final URI from;
  private final RepositoryFile file;
  private final Path blob;
  private final Transfer transfer;
  private final LongConsumer progress;

  /**
   * @param from where the hub has it
   * @param progress told how many bytes are there, one thread at a time
   */
  BlobDownload(
      HubClient client,
      HubName name,
      URI from,
      RepositoryFile file,
      Path blob,
      Transfer transfer,
      LongConsumer progress) {
    this.client = client;
    this.name = name;
    this.from = from;
    this.file = file;
    this.blob = blob;
    this.transfer = transfer;
    this.progress = progress;
  }

  void run() throws IOException, InterruptedException {
    String got = fetch();
    if (!got.isEmpty()) {
      got = fetch();
    }
    if (!got.isEmpty()) {
      throw new HubException(
          HubException.Kind.DAMAGED,
          "%s: %s arrived twice with the hash %s, where the hub announced %s: a proxy or mirror between changes it; nothing was kept"
              .formatted(name, file.path(), got, file.hash()));
    }
  }

  /** Fetches what is missing; answers with the hash where it is a wrong one, which is not kept. */
  private String fetch() throws IOException, InterruptedException {
    try {
      return fetch(transfer.piece());
    } catch (HubClient.NoRanges e) {
      return fetch(Math.max(1, file.size())); // in one piece
    }
  }

  private String fetch(long piece) throws IOException, InterruptedException {
    try (PartialBlob partial = PartialBlob.open(blob, file.size(), piece)) {
      fetchPieces(partial);
      String hash = file.hashOf(partial.file());
      if (!hash.equals(file.hash())) {
        partial.discard();
        return hash;
      }
      partial.complete(blob);
      return "";
    }
  }

  private void fetchPieces(PartialBlob partial) throws IOException, InterruptedException {
    Reached reached = new Reached(partial.pieces());
    List<Integer> missing = new ArrayList<>();
    for (int i = 0; i < partial.pieces(); i++) {
      if (partial.has(i)) {
        reached.at(i, partial.end(i) - partial.start(i));
      } else if (file.size() > 0) {
        missing.add(i);
      }
    }
    if (missing.isEmpty()) {
      return;
    }
    ExecutorService threads =
        Executors.newFixedThreadPool(
            Math.min(transfer.parallel(), missing.size()), BlobDownload::daemon);
    try {
      List<Future<?>> all = new ArrayList<>();
      for (int index : missing) {
        all.add(
            threads.submit(
                () -> {
                  fetchPiece(partial, index, reached);
                  return null;
                }));
      }
      for (Future<?> each : all) {
        each.get();
      }
    } catch (ExecutionException e) {
      throw asIs(e.getCause());
    } finally {
      threads.shutdownNow();
      threads.awaitTermination(1, TimeUnit.MINUTES); // nobody writes once the file is closed
    }
  }

  private static Thread daemon(Runnable work) {
    Thread thread = new Thread(work, "hub-download");
    thread.setDaemon(true);
    return thread;
  }

  private static IOException asIs(Throwable cause) throws IOException {
    if (cause instanceof UncheckedIOException unchecked) {
      throw unchecked.getCause();
    } else if (cause instanceof RuntimeException runtime) {
      throw runtime;
    } else if (cause instanceof Error error) {
      throw error;
    }
    return (IOException) cause;
  }

  private void fetchPiece(PartialBlob partial, int index, Reached reached) throws IOException {
    long start = partial.start(index);
    client.read(
        name,
        from,
        new HubClient.Part(file.size(), start, partial.end(index)),
        (bytes, count, at) -> {
          try {
            partial.write(bytes, count, at);
          } catch (IOException e) { // not the network's, so not to be tried again
            throw new UncheckedIOException(
                new IOException("cannot write " + partial.file() + ": " + e.getMessage(), e));
          }
          reached.at(index, at + count - start);
        });
    partial.mark(index);
  }

  /** Adds up how far the pieces are. */
  private final class Reached {
    private final long[] bytes;
    private long sum;

    Reached(int pieces) {
      bytes = new long[pieces];
    }

    synchronized void at(int piece, long count) {
      sum += count - bytes[piece];
      bytes[piece] = count;
      progress.accept(sum);
    }
  }
}
