package org.perflow.tensor;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.IValueVector;
import org.bytedeco.pytorch.JitModule;
import org.bytedeco.pytorch.global.torch;

/**
 * A module that {@code torch.jit.save} wrote, run by libtorch's interpreter as it is: for networks
 * whose architecture we need not know. It is code of whoever made the file, though it can only
 * compute. Owns its weights until closed; one thread at a time. Grad mode is the caller's.
 */
public final class TorchScript implements AutoCloseable {
  private final JitModule module;
  private final String name;

  private TorchScript(JitModule module, String name) {
    this.module = module;
    this.name = name;
  }

  /**
   * Reads a file and sets the module to inference.
   *
   * @throws IOException naming the file where it is missing or no TorchScript
   */
  public static TorchScript load(Path file) throws IOException {
    if (!Files.isRegularFile(file)) {
      throw new NoSuchFileException(file.toString(), null, "there is no such TorchScript file");
    }
    try {
      JitModule module = torch.load(file.toString());
      module.retainReference(); // no scope of the caller's frees it
      module.eval();
      return new TorchScript(module, file.toString());
    } catch (RuntimeException e) {
      throw new IOException(
          file
              + " is no TorchScript module ("
              + firstLine(e)
              + "); expected what torch.jit.save writes, not a state dict: export it with"
              + " torch.jit.trace(module, example).save(file)",
          e);
    }
  }

  /** Moves its weights to that device, where its inputs must be, too. */
  public void to(Device device) {
    module.to(device.settled().raw());
  }

  /** Whether the module has a submodule of this name. */
  public boolean hasChild(String child) {
    return module.hasattr(child) && module.attr(child).isModule();
  }

  /**
   * What the module makes of {@code input}, owned by the caller's scope.
   *
   * @throws IllegalArgumentException where it does not take such a tensor, or returns another thing
   */
  public Tensor forward(Tensor input) {
    return run(module, input);
  }

  /** The same by the submodule {@code child}. */
  public Tensor forward(String child, Tensor input) {
    try (JitModule part = new JitModule(module.attr(child).toObject())) {
      return run(part, input);
    }
  }

  private Tensor run(JitModule part, Tensor input) {
    IValue output;
    try (IValue argument = new IValue(input.raw);
        IValueVector arguments = new IValueVector(argument)) {
      output = part.forward(arguments);
    } catch (RuntimeException e) {
      throw new IllegalArgumentException(name + " does not take " + input + ": " + firstLine(e), e);
    }
    if (!output.isTensor()) {
      throw new IllegalArgumentException(
          name + " returns a " + output.tagKind().getString() + ", expected one tensor");
    }
    return new Tensor(output.toTensor());
  }

  /** libtorch's messages go on with a trace of its own code. */
  private static String firstLine(RuntimeException e) {
    return String.valueOf(e.getMessage()).lines().findFirst().orElse("");
  }

  @Override
  public void close() {
    module.releaseReference();
  }
}
