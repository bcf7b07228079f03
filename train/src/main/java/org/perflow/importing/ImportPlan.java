package org.perflow.importing;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import org.perflow.io.Fingerprint;
import org.perflow.io.Json;

/**
 * Which picture goes into which shard, known before any is read: shards do not depend on each
 * other, so that an import that was cut off goes on with the next.
 *
 * @param shards train-0000.tar, ... and test.tar, each with its pictures in the sources' order
 * @param leftOut what the sources themselves could not give
 * @param fingerprint of all that the shards depend on
 * @param sources of the pictures, closed with the plan
 */
record ImportPlan(
    List<Shard> shards, List<LeftOut> leftOut, String fingerprint, List<Source> sources)
    implements AutoCloseable {
  private static final int VERSION = 1; // of how pictures are prepared

  /** One file of the result. */
  record Shard(String name, List<Entry> entries) {
    boolean isHeldOut() {
      return name.startsWith("test");
    }
  }

  static ImportPlan of(List<Source> sources, Listing listing, ImportOptions options) {
    List<Entry> all = listing.entries();
    Set<String> held = Split.heldOut(all, options.heldOut());
    List<Entry> train = all.stream().filter(entry -> !held.contains(entry.caption())).toList();
    List<Entry> test = all.stream().filter(entry -> held.contains(entry.caption())).toList();
    List<Shard> shards = new ArrayList<>();
    for (int from = 0; from < train.size(); from += options.shardSize()) {
      int to = Math.min(train.size(), from + options.shardSize());
      shards.add(new Shard("train-%04d".formatted(shards.size()), train.subList(from, to)));
    }
    if (!test.isEmpty()) {
      shards.add(new Shard("test", test));
    }
    return new ImportPlan(shards, listing.leftOut(), fingerprint(all, options), sources);
  }

  private static String fingerprint(List<Entry> entries, ImportOptions options) {
    List<String> lines = new ArrayList<>();
    lines.add("import " + VERSION + " " + Json.MAPPER.valueToTree(options.withStrict(false)));
    for (Entry entry : entries) {
      lines.add(entry.name() + "\n" + entry.stamp() + "\n" + entry.caption());
      lines.add(Integer.toString(entry.repeats()));
    }
    return Fingerprint.of(lines);
  }

  @Override
  public void close() throws IOException {
    for (Source source : sources) {
      source.close();
    }
  }

  /** Pictures in all shards. */
  int size() {
    return shards.stream().mapToInt(shard -> shard.entries().size()).sum();
  }
}
