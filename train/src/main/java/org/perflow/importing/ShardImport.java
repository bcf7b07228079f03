package org.perflow.importing;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.perflow.importing.ImportPlan.Shard;
import org.perflow.importing.LeftOut.Why;
import org.perflow.importing.Preparation.About;
import org.perflow.importing.Preparation.Prepared;
import org.perflow.io.FormatException;
import org.perflow.io.Json;
import org.perflow.io.ShardWriter;

/**
 * Writes shards: pictures are read by the calling thread in their order, made ready by as many
 * threads as there are processors, and written in their order again. Of each finished shard a note
 * is left, by which the next attempt knows that it is there.
 */
final class ShardImport implements AutoCloseable {
  private static final int THUMBS = 24; // of a shard

  private final Path out;
  private final Path notes;
  private final boolean strict;
  private final Preparation preparation;
  private final int threads = Runtime.getRuntime().availableProcessors();
  private final ExecutorService pool =
      Executors.newFixedThreadPool(
          threads,
          task -> {
            Thread thread = new Thread(task, "import");
            thread.setDaemon(true);
            return thread;
          });

  /** What a shard holds, as its note says. */
  record Note(List<About> pictures, List<LeftOut> leftOut, List<Thumb> thumbs) {}

  /** A small picture for the contact sheet. */
  @SuppressWarnings("ArrayRecordComponent") // passed on, never compared
  record Thumb(String caption, byte[] jpeg) {}

  /** Is told of every picture that is done. */
  @FunctionalInterface
  interface Counter {
    void done(int pictures);
  }

  ShardImport(Path out, Path notes, ImportOptions options) {
    this.out = out;
    this.notes = notes;
    this.strict = options.strict();
    this.preparation = new Preparation(options);
  }

  /** Writes {@code shard}, or finds it written. */
  Note run(Shard shard, Counter counter) throws IOException {
    Path file = out.resolve(shard.name() + ".tar");
    Path note = notes.resolve(shard.name() + ".json");
    if (Files.exists(note)) {
      Note written = Json.read(note, Note.class);
      if (written.pictures().isEmpty() || Files.exists(file)) {
        counter.done(shard.entries().size());
        return written;
      }
    }
    Note written = write(shard, file, counter);
    Json.write(note, written);
    return written;
  }

  private Note write(Shard shard, Path file, Counter counter) throws IOException {
    Note note = new Note(new ArrayList<>(), new ArrayList<>(), new ArrayList<>());
    List<Entry> entries = shard.entries();
    int every = Math.max(1, entries.size() / THUMBS);
    Deque<Future<Prepared>> ahead = new ArrayDeque<>();
    try (ShardWriter writer = new ShardWriter(file)) {
      for (int i = 0; i < entries.size(); i++) {
        if (ahead.size() == 2 * threads) {
          take(ahead.remove(), note, writer);
          counter.done(1);
        }
        ahead.add(submit(entries.get(i), "%s-%05d".formatted(shard.name(), i), i % every == 0));
      }
      while (!ahead.isEmpty()) {
        take(ahead.remove(), note, writer);
        counter.done(1);
      }
      if (!note.pictures().isEmpty()) {
        writer.finish();
      }
    } finally {
      ahead.forEach(waiting -> waiting.cancel(true));
    }
    return note;
  }

  private Future<Prepared> submit(Entry entry, String key, boolean thumb) {
    byte[] bytes;
    try {
      bytes = entry.content().read();
    } catch (IOException e) {
      return pool.submit(() -> Prepared.leftOut(entry, Why.UNREADABLE, e.toString()));
    }
    return pool.submit(() -> preparation.prepare(entry, bytes, key, thumb));
  }

  private void take(Future<Prepared> waiting, Note note, ShardWriter writer) throws IOException {
    Prepared prepared = await(waiting);
    LeftOut leftOut = prepared.leftOut();
    if (leftOut != null) {
      refuse(strict, leftOut);
      note.leftOut().add(leftOut);
      return;
    }
    writer.write(prepared.sample());
    note.pictures().add(prepared.about());
    if (prepared.thumb() != null) {
      note.thumbs().add(new Thumb(prepared.sample().caption(), prepared.thumb()));
    }
  }

  /**
   * Ends a strict import.
   *
   * @throws FormatException naming the picture
   */
  static void refuse(boolean strict, LeftOut leftOut) throws FormatException {
    if (strict) {
      throw new FormatException(
          leftOut + " (a strict import ends here; else it would be left out, and told)");
    }
  }

  private static Prepared await(Future<Prepared> waiting) throws IOException {
    try {
      return waiting.get();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted; the same import goes on where it was", e);
    } catch (ExecutionException e) {
      if (e.getCause() instanceof IOException io) {
        throw io;
      }
      throw new IllegalStateException(e.getCause());
    }
  }

  /** What a killed import had not finished. */
  static void deleteUnfinished(Path out) throws IOException {
    try (var files = Files.newDirectoryStream(out, ".{train-,test}*.tar.*.tmp")) {
      for (Path file : files) {
        Files.delete(file);
      }
    }
  }

  @Override
  public void close() throws IOException {
    pool.shutdownNow();
    try {
      pool.awaitTermination(1, TimeUnit.MINUTES);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
