package org.perflow.evaluate;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import org.perflow.io.FormatException;
import org.perflow.io.SafetensorsFile;
import org.perflow.io.SafetensorsWriter;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * Tensors that took long to make, kept as safetensors files in a folder: under a kind that tells
 * people what they are, and a fingerprint of all that they depend on. Nothing is ever deleted but
 * damaged files; the folder may be.
 */
public record TensorCache(Path folder) {
  /** Tensors by name, and text by name. */
  public record Content(Map<String, Tensor> tensors, Map<String, String> text) {}

  /** What was kept, in the caller's scope; empty where there is nothing, or it is damaged. */
  public Optional<Content> read(String kind, String fingerprint) {
    Path file = file(kind, fingerprint);
    if (!Files.exists(file)) {
      return Optional.empty();
    }
    try (Scope scope = Scope.open();
        SafetensorsFile source = SafetensorsFile.open(file)) {
      if (!fingerprint.equals(source.metadata().get("fingerprint"))) {
        return Optional.empty();
      }
      Map<String, Tensor> tensors = new LinkedHashMap<>();
      for (var entry : source.entries().entrySet()) {
        tensors.put(entry.getKey(), source.read(entry.getKey(), entry.getValue().dtype()));
      }
      tensors.values().forEach(scope::keep);
      return Optional.of(new Content(tensors, source.metadata()));
    } catch (FormatException damaged) {
      return Optional.empty(); // made anew and written over
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Keeps {@code content}, atomically. */
  public void write(String kind, String fingerprint, Content content) {
    Map<String, String> text = new LinkedHashMap<>(content.text());
    text.put("fingerprint", fingerprint);
    try {
      Files.createDirectories(folder);
      SafetensorsWriter.write(file(kind, fingerprint), content.tensors(), text);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private Path file(String kind, String fingerprint) {
    return folder.resolve(kind + "-" + fingerprint.substring(0, 16) + ".safetensors");
  }
}
