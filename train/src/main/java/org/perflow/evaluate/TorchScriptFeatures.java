package org.perflow.evaluate;

import java.io.IOException;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import org.perflow.io.Fingerprint;
import org.perflow.io.FormatException;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.TorchScript;

/**
 * Features of a TorchScript file of the user's, fed as clean-fid feeds Inception (Parmar, Zhang,
 * Zhu 2022, arXiv 2104.11222): pictures resized to 299 × 299 ({@link BicubicResize}), held to
 * 0..255, then (x - 128) / 128. With NVIDIA's inception-2015-12-05.pt the Fréchet distance is then
 * the standard FID: of that file, as clean-fid does, only its submodule "layers" runs, which leaves
 * out the file's own resizing. Any other module gets the same pictures and must return one tensor
 * for a batch, whose first dimension is the batch.
 *
 * <p>Used by one thread; {@link #close} frees the weights.
 */
public final class TorchScriptFeatures implements Features {
  private static final String PART = "layers";
  private static final int SIDE = 299;

  private final TorchScript module;
  private final String name;
  private final String fingerprint;
  private Device device = Device.CPU;

  private TorchScriptFeatures(TorchScript module, String name, String fingerprint) {
    this.module = module;
    this.name = name;
    this.fingerprint = fingerprint;
  }

  /** Reads the file, whose name without its ending names the figures. */
  public static TorchScriptFeatures load(Path file) throws IOException {
    TorchScript module = open(file);
    String name = String.valueOf(file.getFileName()).replaceFirst("\\.[^.]+$", "");
    return new TorchScriptFeatures(module, name, Fingerprint.of(file));
  }

  private static TorchScript open(Path file) throws IOException {
    try {
      return TorchScript.load(file);
    } catch (NoSuchFileException e) {
      throw e;
    } catch (IOException e) {
      throw new FormatException(String.valueOf(e.getMessage()), e);
    }
  }

  @Override
  public void to(Device other) {
    module.to(other);
    device = other.settled();
  }

  @Override
  public String name() {
    return name;
  }

  @Override
  public int side() {
    return SIDE;
  }

  @Override
  public String fingerprint() {
    return fingerprint;
  }

  @Override
  public Tensor features(Tensor pictures) {
    try (Scope scope = Scope.open()) {
      Tensor levels = pictures.to(device).to(DType.F32).clamp(-1, 1).add(1).mul(127.5); // 0..255
      Tensor input = levels.sub(128).div(128);
      Tensor output = module.hasChild(PART) ? module.forward(PART, input) : module.forward(input);
      if (output.dim() < 2 || output.size(0) != pictures.size(0)) {
        throw new IllegalArgumentException(
            name + " makes " + output + " of " + pictures + ", expected [B, ...] of as many rows");
      }
      Tensor features = output.reshape(output.size(0), -1).to(DType.F32).to(pictures.device());
      return scope.keep(features.copy());
    }
  }

  @Override
  public void close() {
    module.close();
  }
}
