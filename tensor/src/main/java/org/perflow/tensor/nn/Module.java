package org.perflow.tensor.nn;

import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BiConsumer;
import java.util.function.Supplier;
import org.bytedeco.javacpp.Pointer;
import org.perflow.tensor.DType;
import org.perflow.tensor.Device;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Rng;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Parameter.Init;

/**
 * A network part with named weights. Owns the native memory of its weights until {@link #close}.
 * Forward passes may run on several threads at once while nobody changes the weights.
 */
public abstract class Module implements AutoCloseable {
  private final Map<String, Parameter> parameters = new LinkedHashMap<>();
  private final Map<String, Module> children = new LinkedHashMap<>();

  /** Declares a weight of this part under its published name. */
  protected final Parameter parameter(String name, Init init, long... shape) {
    Parameter parameter = new Parameter(init, shape);
    parameters.put(name, parameter);
    return parameter;
  }

  /** Declares a part of this part; the name may hold dots ({@code to_out.0}). */
  protected final <M extends Module> M child(String name, M module) {
    children.put(name, module);
    return module;
  }

  /** Every weight by its full published name, in the order of declaration. */
  public final Map<String, Parameter> namedParameters() {
    Map<String, Parameter> all = new LinkedHashMap<>();
    visit("", all::put);
    return all;
  }

  private void visit(String prefix, BiConsumer<String, Parameter> visitor) {
    parameters.forEach((name, parameter) -> visitor.accept(prefix + name, parameter));
    children.forEach((name, child) -> child.visit(prefix + name + ".", visitor));
  }

  /**
   * Moves the weights to {@code device}; those that it does not have yet will be read or drawn
   * there. Nobody may run it meanwhile, and what holds its weights ({@link
   * org.perflow.tensor.optim.FlatParameters}) is made afterwards.
   *
   * @throws IllegalArgumentException where there is no such device: {@link Device#settled}
   */
  public final void to(Device device) {
    Device settled = device.settled();
    namedParameters().values().forEach(parameter -> parameter.to(settled));
  }

  /**
   * Does {@code work} while copies of the weights on {@code device} stand for them, which are freed
   * afterwards: so a GPU holds this module only for as long as it is needed. The weights stay where
   * they are, as they are; changes meanwhile are of the copies. Nobody else may run the module
   * meanwhile. Where they are there already nothing is copied.
   *
   * @throws IllegalArgumentException where there is no such device: {@link Device#settled}
   */
  public final <T> T on(Device device, Supplier<T> work) {
    Device settled = device.settled();
    if (settled.equals(device())) {
      return work.get();
    }
    List<Parameter> lent = new ArrayList<>();
    try {
      for (Parameter weight : namedParameters().values()) {
        weight.lend(settled);
        lent.add(weight);
      }
      return work.get();
    } finally {
      lent.forEach(Parameter::takeBack);
    }
  }

  /**
   * For a module that will only run forward: on the CPU each convolution keeps its filters, from
   * its next pass on, in the order in which that pass reads them, and no longer as they are stored.
   * {@link Parameter#value} brings them back, so weights may be read, changed and adapted as
   * before; but nobody may do so while another thread runs the module.
   */
  public final void pack() {
    namedParameters().values().forEach(Parameter::pack);
  }

  /** Where its weights are, or will be; the CPU where it has none. */
  public final Device device() {
    return namedParameters().values().stream()
        .findFirst()
        .map(Parameter::device)
        .orElse(Device.CPU);
  }

  /** Draws all weights, as {@code type}. */
  public final void initialise(Rng rng, DType type) {
    namedParameters().values().forEach(parameter -> parameter.initialise(rng, type));
  }

  /** Copies the weights of a module of the same architecture, as {@code type}. */
  public final void copyFrom(Module source, DType type) {
    Map<String, Parameter> theirs = source.namedParameters();
    try (NoGrad guard = NoGrad.enter()) {
      namedParameters()
          .forEach(
              (name, parameter) -> {
                Tensor copy;
                try (Scope scope = Scope.open()) {
                  Parameter their = weight(theirs, name);
                  copy = scope.release(Tensor.empty(type, parameter.device(), parameter.shape()));
                  copy.copyInPlace(their.value());
                }
                parameter.value(copy);
              });
    }
  }

  /**
   * Takes the weights of a module of the same architecture, or of a larger one, without a copy:
   * both are views of one memory, which lives as long as either. What changes one changes the
   * other.
   */
  public final void share(Module source) {
    Map<String, Parameter> theirs = source.namedParameters();
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      namedParameters()
          .forEach(
              (name, parameter) -> {
                Parameter their = weight(theirs, name);
                parameter.value(scope.release(their.value().detach()));
              });
    }
  }

  private static Parameter weight(Map<String, Parameter> source, String name) {
    Parameter weight = source.get(name);
    if (weight == null) {
      throw new IllegalArgumentException("the source has no weight " + name);
    }
    return weight;
  }

  /** Copies the weights that {@code source} has, too, and leaves the others as they are. */
  public final void copySharedFrom(Module source) {
    Map<String, Parameter> theirs = source.namedParameters();
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      namedParameters()
          .forEach(
              (name, parameter) -> {
                Parameter their = theirs.get(name);
                if (their != null) {
                  parameter.value().copyInPlace(their.value());
                }
              });
    }
  }

  /** Number of weights. */
  public final long parameterCount() {
    return namedParameters().values().stream()
        .mapToLong(
            parameter -> {
              long count = 1;
              for (long size : parameter.shape()) {
                count *= size;
              }
              return count;
            })
        .sum();
  }

  /** Frees the weights, and gives their memory back to the system. */
  @Override
  public final void close() {
    boolean here = namedParameters().values().stream().anyMatch(Parameter::isHere);
    namedParameters().values().forEach(Parameter::close);
    if (here) {
      Pointer.trimMemory(); // malloc keeps what lies between other things
    }
  }
}
