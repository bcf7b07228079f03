package org.perflow.train;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.TreeSet;
import org.perflow.io.FormatException;
import org.perflow.io.Json;
import org.perflow.io.Overrides;
import org.perflow.tensor.Compute;
import org.perflow.tensor.Device;

/**
 * What a run was told, as the {@code config.json} beside everything it writes: the {@link
 * TrainOptions} as "train", and by name the sections of what is trained, such as "method", "lora"
 * and "inputs". Immutable.
 *
 * @param json the sections, in the order of the file
 */
public record RunConfig(ObjectNode json) {
  private static final String FILE = "config.json";
  private static final String TRAIN = "train";

  public RunConfig {
    json = json.deepCopy();
  }

  /** Of the trainer's settings alone. */
  public static RunConfig of(TrainOptions train) {
    return new RunConfig(Json.MAPPER.createObjectNode()).with(TRAIN, train);
  }

  /** That of the run, or the checkpoint, in {@code folder}. */
  public static RunConfig in(Path folder) throws IOException {
    return read(folder.resolve(FILE));
  }

  /**
   * The sections of a file, which need not be complete.
   *
   * @throws FormatException where it is no JSON object
   */
  public static RunConfig read(Path file) throws IOException {
    return new RunConfig(Json.readObject(file));
  }

  /** Writes {@code config.json}. */
  void write(Path folder) throws IOException {
    Json.write(folder.resolve(FILE), json);
  }

  /** A copy with that section, a record or a value. */
  public RunConfig with(String section, Object settings) {
    ObjectNode more = json.deepCopy();
    more.set(section, Json.MAPPER.valueToTree(settings));
    return new RunConfig(more);
  }

  /** The caller's own copy. */
  @Override
  public ObjectNode json() {
    return json.deepCopy();
  }

  /** The settings of a section, none where it is not there. */
  public ObjectNode section(String name) {
    return json.get(name) instanceof ObjectNode settings
        ? settings.deepCopy()
        : Json.MAPPER.createObjectNode();
  }

  /** Settings of the trainer; those that are not there have their defaults. */
  public TrainOptions train() {
    return Overrides.apply(TrainOptions.DEFAULTS, section(TRAIN));
  }

  /**
   * {@code train} with device and element type settled: {@link Device#AUTO} is what is here, and
   * {@link Compute#AUTO} the type that the run in {@code folder} began with, and in a new one
   * whichever is faster there.
   *
   * @throws IllegalArgumentException where there is no such device, or not of that type
   */
  public static TrainOptions settled(TrainOptions train, Path folder) throws IOException {
    TrainOptions here = train.withDevice(train.device().settled());
    if (train.compute() != Compute.AUTO) {
      return here.withCompute(train.compute().settled(here.device()));
    }
    Optional<Path> begun = Checkpoint.latest(folder);
    Compute before = begun.isEmpty() ? Compute.AUTO : in(begun.get()).train().compute();
    return here.withCompute(before.settled(here.device()));
  }

  /** What differs between an earlier config and this one, such as "train.batch (was 8, is 16)". */
  public List<String> differences(RunConfig earlier) {
    Map<String, String> before = earlier.values();
    Map<String, String> now = values();
    TreeSet<String> keys = new TreeSet<>(before.keySet());
    keys.addAll(now.keySet());
    List<String> differences = new ArrayList<>();
    for (String key : keys) {
      String was = before.getOrDefault(key, "missing");
      String is = now.getOrDefault(key, "missing");
      if (!was.equals(is)) {
        differences.add("%s (was %s, is %s)".formatted(key, was, is));
      }
    }
    return differences;
  }

  /** By dotted name, as text: whole numbers are of one kind in memory and of another when read. */
  private Map<String, String> values() {
    Map<String, String> values = new TreeMap<>();
    collect("", json, values);
    return values;
  }

  private static void collect(String prefix, ObjectNode node, Map<String, String> values) {
    for (Map.Entry<String, JsonNode> entry : node.properties()) {
      if (entry.getValue() instanceof ObjectNode inner) {
        collect(prefix + entry.getKey() + ".", inner, values);
      } else {
        values.put(prefix + entry.getKey(), entry.getValue().toString());
      }
    }
  }
}
