package org.perflow.cli;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipOutputStream;
import org.perflow.io.Json;
import org.perflow.io.LazyTensor;
import org.perflow.io.SafetensorsFile;
import org.perflow.io.SafetensorsWriter;
import org.perflow.models.ModelConversion;
import org.perflow.tensor.DType;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/** The forms that people publish the weights of a model in, to bring ours into. */
enum PublishedForm {
  PLAIN {
    @Override
    void write(SafetensorsFile weights, Path folder) throws IOException {
      save(weights, weights.entries().keySet(), folder.resolve(NAME + ".safetensors"));
    }
  },
  VARIANT {
    @Override
    void write(SafetensorsFile weights, Path folder) throws IOException {
      save(weights, weights.entries().keySet(), folder.resolve(NAME + ".fp16.safetensors"));
    }
  },
  SHARDS {
    @Override
    void write(SafetensorsFile weights, Path folder) throws IOException {
      List<String> names = List.copyOf(weights.entries().keySet());
      Map<String, String> files = new LinkedHashMap<>();
      for (int i = 0; i < 2; i++) {
        String file = NAME + "-%05d-of-00002.safetensors".formatted(i + 1);
        List<String> part = names.subList(i * names.size() / 2, (i + 1) * names.size() / 2);
        save(weights, part, folder.resolve(file));
        part.forEach(name -> files.put(name, file));
      }
      Json.write(folder.resolve(NAME + ".safetensors.index.json"), Map.of("weight_map", files));
    }
  },
  BIN {
    @Override
    void write(SafetensorsFile weights, Path folder) throws IOException {
      torchSave(weights, folder.resolve(NAME + ".bin"));
    }
  },
  SINGLE_FILE {
    @Override
    void write(SafetensorsFile weights, Path folder) {
      throw new UnsupportedOperationException("a form of whole models");
    }

    @Override
    Path copy(Path model, Path folder) throws IOException {
      Path file = folder.resolveSibling(folder.getFileName() + ".safetensors");
      ModelConversion.toSingleFile(model, file, null);
      return file;
    }
  };

  static final String NAME = "diffusion_pytorch_model";

  /** Writes the weights of a U-Net. */
  abstract void write(SafetensorsFile weights, Path folder) throws IOException;

  /** A copy of a model folder with its U-Net in this form; the path to name it by. */
  Path copy(Path model, Path folder) throws IOException {
    Path unet = model.resolve("unet").resolve(NAME + ".safetensors");
    try (Stream<Path> files = Files.walk(model)) {
      for (Path file : files.filter(Files::isRegularFile).toList()) {
        Path to = folder.resolve(model.relativize(file).toString());
        Files.createDirectories(to.getParent());
        if (!file.equals(unet)) {
          Files.copy(file, to);
        }
      }
    }
    try (SafetensorsFile weights = SafetensorsFile.open(unet)) {
      write(weights, folder.resolve("unet"));
    }
    return folder;
  }

  private static void save(SafetensorsFile weights, Iterable<String> names, Path file)
      throws IOException {
    Map<String, LazyTensor> tensors = new LinkedHashMap<>();
    names.forEach(name -> tensors.put(name, LazyTensor.of(weights, name)));
    SafetensorsWriter.write(file, tensors, type -> type, Map.of("format", "pt"));
  }

  /** What torch.save writes of a state dict in float32: a pickle and its storages, uncompressed. */
  private static void torchSave(SafetensorsFile weights, Path file) throws IOException {
    ByteArrayOutputStream pickle = new ByteArrayOutputStream();
    List<String> names = new ArrayList<>(weights.entries().keySet());
    text(pickle, "\u0080\2ccollections\nOrderedDict\n)R(");
    for (int key = 0; key < names.size(); key++) {
      long[] shape = weights.entry(names.get(key)).shape();
      string(pickle, names.get(key));
      text(pickle, "ctorch._utils\n_rebuild_tensor_v2\n((");
      string(pickle, "storage");
      text(pickle, "ctorch\nFloatStorage\n");
      string(pickle, Integer.toString(key));
      string(pickle, "cpu");
      number(pickle, weights.entry(names.get(key)).numel());
      text(pickle, "tQK\0(");
      for (long size : shape) {
        number(pickle, size);
      }
      text(pickle, "t(");
      for (int i = 0; i < shape.length; i++) {
        long stride = 1;
        for (int j = i + 1; j < shape.length; j++) {
          stride *= shape[j];
        }
        number(pickle, stride);
      }
      text(pickle, "t\u0089ccollections\nOrderedDict\n)RtR");
    }
    text(pickle, "u.");
    try (ZipOutputStream zip = new ZipOutputStream(Files.newOutputStream(file))) {
      stored(zip, "archive/data.pkl", pickle.toByteArray());
      for (int key = 0; key < names.size(); key++) {
        try (Scope scope = Scope.open()) {
          Tensor value = weights.read(names.get(key), DType.F32);
          byte[] bytes = new byte[Math.toIntExact(4 * value.numel())];
          value.bytes(0, bytes.length).get(bytes);
          stored(zip, "archive/data/" + key, bytes);
        }
      }
    }
  }

  private static void stored(ZipOutputStream zip, String name, byte[] bytes) throws IOException {
    CRC32 crc = new CRC32();
    crc.update(bytes);
    ZipEntry entry = new ZipEntry(name);
    entry.setMethod(ZipEntry.STORED);
    entry.setSize(bytes.length);
    entry.setCrc(crc.getValue());
    zip.putNextEntry(entry);
    zip.write(bytes);
  }

  private static void text(ByteArrayOutputStream out, String latin) {
    out.writeBytes(latin.getBytes(StandardCharsets.ISO_8859_1));
  }

  private static void string(ByteArrayOutputStream out, String text) {
    byte[] bytes = text.getBytes(StandardCharsets.UTF_8);
    out.write('X');
    out.writeBytes(int32(bytes.length));
    out.writeBytes(bytes);
  }

  private static void number(ByteArrayOutputStream out, long value) {
    out.write('J');
    out.writeBytes(int32(Math.toIntExact(value)));
  }

  private static byte[] int32(int value) {
    return ByteBuffer.allocate(4).order(ByteOrder.LITTLE_ENDIAN).putInt(value).array();
  }
}
