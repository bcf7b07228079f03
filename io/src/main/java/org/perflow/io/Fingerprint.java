package org.perflow.io;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.MessageDigest;
import java.security.NoSuchAlgorithmException;
import java.util.Arrays;
import java.util.HexFormat;
import java.util.Map;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Module;
import org.perflow.tensor.nn.Parameter;

/** SHA-256 of files, weights and tensors, in hexadecimal: what caches and deltas are tied to. */
public final class Fingerprint {
  private static final int CHUNK = 1 << 20;

  private final MessageDigest digest;

  private Fingerprint() {
    try {
      digest = MessageDigest.getInstance("SHA-256");
    } catch (NoSuchAlgorithmException e) {
      throw new IllegalStateException("every Java has SHA-256", e);
    }
  }

  private String hex() {
    return HexFormat.of().formatHex(digest.digest());
  }

  /** Of a file's bytes; where it is the index of sharded weights, then of the shards' too. */
  public static String of(Path file) throws IOException {
    Fingerprint fingerprint = new Fingerprint();
    byte[] buffer = new byte[CHUNK];
    for (Path part : WeightFiles.parts(file)) {
      try (InputStream in = Files.newInputStream(part)) {
        for (int n = in.read(buffer); n > 0; n = in.read(buffer)) {
          fingerprint.digest.update(buffer, 0, n);
        }
      }
    }
    return fingerprint.hex();
  }

  /** Of some bytes. */
  public static String of(byte[] bytes) {
    Fingerprint fingerprint = new Fingerprint();
    fingerprint.digest.update(bytes);
    return fingerprint.hex();
  }

  /** Of some lines of text. */
  public static String of(Iterable<String> lines) {
    Fingerprint fingerprint = new Fingerprint();
    lines.forEach(
        line -> fingerprint.digest.update((line + "\n").getBytes(StandardCharsets.UTF_8)));
    return fingerprint.hex();
  }

  /** Of names, shapes and values of all weights. */
  public static String of(Module module) {
    return of(module.namedParameters());
  }

  /** The same of weights by name. */
  public static String of(Map<String, Parameter> weights) {
    Fingerprint fingerprint = new Fingerprint();
    try (NoGrad guard = NoGrad.enter()) {
      weights.forEach((name, parameter) -> fingerprint.add(name, parameter.value()));
    }
    return fingerprint.hex();
  }

  /** Of shape and values of one tensor. */
  public static String of(Tensor tensor) {
    Fingerprint fingerprint = new Fingerprint();
    fingerprint.add("", tensor);
    return fingerprint.hex();
  }

  private void add(String name, Tensor value) {
    digest.update(
        (name + value.dtype() + Arrays.toString(value.shape())).getBytes(StandardCharsets.UTF_8));
    try (Scope scope = Scope.open()) {
      Tensor data = value.detach().to(Device.CPU).contiguous();
      long total = data.numel() * data.dtype().bytes();
      for (long at = 0; at < total; at += CHUNK) {
        ByteBuffer bytes = data.bytes(at, (int) Math.min(CHUNK, total - at));
        digest.update(bytes);
      }
    }
  }
}
