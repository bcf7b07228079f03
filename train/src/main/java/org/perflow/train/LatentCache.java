package org.perflow.train;

import java.awt.Dimension;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.stream.LongStream;
import org.jspecify.annotations.Nullable;
import org.perflow.io.Fingerprint;
import org.perflow.io.Images;
import org.perflow.io.SafetensorsFile;
import org.perflow.io.SafetensorsWriter;
import org.perflow.io.Sample;
import org.perflow.models.AutoencoderKL;
import org.perflow.models.VaeConfig;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * The VAE's posteriors of all pictures, encoded once and kept in memory: latents are sampled from
 * them at every use. Pictures may be of several sizes; a batch is of one. Owns its native memory.
 */
public final class LatentCache implements AutoCloseable {
  private static final int PIXELS = 32 * 64 * 64; // that are encoded at a time

  private Device device; // where latents go
  private final List<Group> groups;
  private final int[] groupOf; // each picture
  private final int[] rowOf; // each picture, in its group

  /**
   * Pictures of one size.
   *
   * @param mean [n, C, h, w]
   * @param deviation [n, C, h, w]
   * @param repeated their numbers, each as often as it is to be seen
   */
  @SuppressWarnings("ArrayRecordComponent") // passed on, never compared
  private record Group(Tensor mean, Tensor deviation, long[] repeated) {}

  private LatentCache(Device device, List<Group> groups, int[] groupOf, int[] rowOf) {
    this.device = device;
    this.groups = groups;
    this.groupOf = groupOf;
    this.rowOf = rowOf;
  }

  /**
   * Encodes all pictures, or reads what an earlier call with the same {@code vae} and shards left
   * in {@code file}.
   */
  public static LatentCache of(AutoencoderKL vae, Catalogue data, Path file) throws IOException {
    List<String> sources = new ArrayList<>(List.of(Fingerprint.of(vae)));
    for (Path shard : data.shards()) {
      sources.add(Fingerprint.of(shard));
    }
    String key = Fingerprint.of(sources);
    List<Sample> samples = data.samples();
    Map<Dimension, List<Integer>> sizes =
        new LinkedHashMap<>(); // in the order of the first of each
    int[] groupOf = new int[samples.size()];
    int[] rowOf = new int[samples.size()];
    List<Dimension> order = new ArrayList<>();
    for (int i = 0; i < samples.size(); i++) {
      Dimension size = data.sizes().get(i);
      List<Integer> numbers = sizes.computeIfAbsent(size, any -> new ArrayList<>());
      if (numbers.isEmpty()) {
        order.add(size);
      }
      groupOf[i] = order.indexOf(size);
      rowOf[i] = numbers.size();
      numbers.add(i);
    }
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Map<String, Tensor> moments = stored(file, key);
      if (moments == null) {
        moments = encode(vae, data, sizes);
        SafetensorsWriter.write(file, moments, Map.of("key", key));
      }
      List<Group> groups = new ArrayList<>();
      for (var size : sizes.entrySet()) {
        Tensor all = moments.get(name(sizes, size.getKey()));
        groups.add(group(all, vae.config(), repeated(size.getValue(), samples)));
      }
      return new LatentCache(vae.device(), groups, groupOf, rowOf);
    }
  }

  private static String name(Map<Dimension, List<Integer>> sizes, Dimension size) {
    return sizes.size() == 1 ? "moments" : "moments.%dx%d".formatted(size.width, size.height);
  }

  private static long[] repeated(List<Integer> numbers, List<Sample> samples) {
    return numbers.stream()
        .flatMapToLong(
            number -> LongStream.generate(() -> number).limit(Origin.repeats(samples.get(number))))
        .toArray();
  }

  private static Group group(Tensor moments, VaeConfig config, long[] repeated) {
    Double shift = config.shiftFactor();
    double scale = config.scalingFactor();
    long channels = moments.size(1) / 2;
    try (Scope scope = Scope.open()) {
      Tensor logVariance = moments.narrow(1, channels, channels).clamp(-30, 20);
      Tensor mean = moments.narrow(1, 0, channels).sub(shift == null ? 0 : shift).mul(scale);
      Tensor deviation = logVariance.mul(0.5).exp().mul(scale);
      return new Group(scope.release(mean), scope.release(deviation), repeated);
    }
  }

  private static @Nullable Map<String, Tensor> stored(Path file, String key) throws IOException {
    if (!Files.exists(file)) {
      return null;
    }
    try (SafetensorsFile source = SafetensorsFile.open(file)) {
      if (!key.equals(source.metadata().get("key"))) {
        return null;
      }
      Map<String, Tensor> moments = new LinkedHashMap<>();
      for (String name : source.entries().keySet()) {
        moments.put(name, source.read(name));
      }
      return moments;
    }
  }

  /** Of all pictures by size, [n, 2C, h, w] each, some at a time as they come. */
  private static Map<String, Tensor> encode(
      AutoencoderKL vae, Catalogue data, Map<Dimension, List<Integer>> sizes) throws IOException {
    Map<String, Tensor> moments = new LinkedHashMap<>();
    Map<Dimension, List<Sample>> waiting = new HashMap<>();
    Map<Dimension, Integer> done = new HashMap<>();
    data.each(
        (sample, number) -> {
          Dimension size = data.sizes().get(number);
          List<Sample> batch = waiting.computeIfAbsent(size, any -> new ArrayList<>());
          batch.add(sample);
          int from = done.getOrDefault(size, 0);
          int all = Objects.requireNonNull(sizes.get(size)).size();
          if (batch.size() < batch(size) && from + batch.size() < all) {
            return;
          }
          try (Scope scope = Scope.open()) {
            Tensor encoded = vae.encodeMoments(pictures(batch).to(vae.device())).to(DType.F32);
            long[] shape = encoded.shape();
            shape[0] = all;
            moments
                .computeIfAbsent(
                    name(sizes, size), any -> scope.keep(Tensor.empty(DType.F32, shape)))
                .narrow(0, from, batch.size())
                .copyInPlace(encoded);
          }
          done.put(size, from + batch.size());
          batch.clear();
        });
    Map<String, Tensor> ordered = new LinkedHashMap<>();
    for (Dimension size : sizes.keySet()) {
      ordered.put(name(sizes, size), Objects.requireNonNull(moments.get(name(sizes, size))));
    }
    return ordered;
  }

  /** Pictures at a time: large ones fill memory one by one. */
  private static int batch(Dimension size) {
    return Math.max(1, PIXELS / (size.width * size.height));
  }

  /** Pictures decoded to float32 [B, 3, H, W] in -1..1. */
  public static Tensor pictures(List<Sample> samples) throws IOException {
    List<Tensor> decoded = new ArrayList<>();
    for (Sample sample : samples) {
      String name = sample.shard() + ": " + sample.key();
      Tensor picture = Images.toTensor(Images.decode(sample.picture(), name));
      if (!decoded.isEmpty() && !Arrays.equals(decoded.get(0).shape(), picture.shape())) {
        throw new IOException(
            "%s is a picture of %s, the ones before are %s: a VAE is trained on pictures of one size; keep its weights, or import the pictures in one size"
                .formatted(name, picture, decoded.get(0)));
      }
      decoded.add(picture);
    }
    return Tensor.stack(0, decoded);
  }

  /** Hands latents out on that device from now on. */
  public void to(Device other) {
    device = other.settled();
  }

  /** How many. */
  public int size() {
    return groupOf.length;
  }

  /** Pictures of one size, by size: {@link Objective#groups}. */
  public List<long[]> groups() {
    return groups.stream().map(Group::repeated).toList();
  }

  /** Rows of the latent of a picture; {@link #width} are its columns. */
  int height(int picture) {
    return (int) groups.get(groupOf[picture]).mean().size(2);
  }

  /** Columns of the latent of a picture. */
  int width(int picture) {
    return (int) groups.get(groupOf[picture]).mean().size(3);
  }

  /** Standard deviation of the scaled latents: 1 is what a diffusion model wants. */
  public double deviation() {
    double square = 0;
    double mean = 0;
    double all = groups.stream().mapToLong(group -> group.mean().numel()).sum();
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      for (Group group : groups) {
        double part = group.mean().numel() / all;
        square +=
            part * (group.mean().square().mean().item() + group.deviation().square().mean().item());
        mean += part * group.mean().mean().item();
      }
    }
    return Math.sqrt(square - Math.pow(mean, 2));
  }

  /**
   * Scaled latents of those pictures, float32 [B, C, h, w], in the caller's scope: kept on the
   * host, and moved to the device that the autoencoder had when they were encoded, or {@link #to}.
   *
   * @throws IllegalArgumentException where they are not of one size
   */
  public Tensor sample(long[] examples, Rng rng) {
    int number = groupOf[(int) examples[0]];
    Group group = groups.get(number);
    long[] rows = new long[examples.length];
    for (int i = 0; i < rows.length; i++) {
      int picture = (int) examples[i];
      if (groupOf[picture] != number) {
        throw new IllegalArgumentException(
            "pictures %d and %d are of two sizes, and a batch is of one"
                .formatted(examples[0], picture));
      }
      rows[i] = rowOf[picture];
    }
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor index = Tensor.of(rows);
      Tensor center = group.mean().indexSelect(0, index);
      Tensor noise = Tensor.randn(rng, center.shape());
      Tensor latents = center.add(group.deviation().indexSelect(0, index).mul(noise));
      return scope.keep(latents.to(device));
    }
  }

  @Override
  public void close() {
    for (Group group : groups) {
      group.mean().close();
      group.deviation().close();
    }
  }
}
