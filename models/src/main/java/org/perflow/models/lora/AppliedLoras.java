package org.perflow.models.lora;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.function.UnaryOperator;
import org.jspecify.annotations.Nullable;
import org.perflow.io.WeightsKind;
import org.perflow.models.DiffusionModel;
import org.perflow.models.SchedulerConfig;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;
import org.perflow.tensor.nn.Module;
import org.perflow.tensor.nn.Parameter;

/**
 * LoRAs in a model, until closed. The model's own weights are never touched: closing brings them
 * back bit for bit. Not thread-safe; nobody may run the model while LoRAs come or go. Close it
 * before the model.
 */
public final class AppliedLoras implements AutoCloseable {
  /** A LoRA and how much of it: 1 is what it was trained for. */
  public record Weighted(LoraFile lora, double weight) {
    public Weighted {
      if (!Double.isFinite(weight)) {
        throw new IllegalArgumentException("weight of " + lora + " is " + weight);
      }
    }
  }

  private record Change(LoraLayer layer, double weight) {}

  private final List<Parameter> adapted = new ArrayList<>();
  private final List<Tensor> fused = new ArrayList<>();

  private final @Nullable ObjectNode scheduler;
  private final List<String> notes = new ArrayList<>();

  private AppliedLoras(List<Weighted> loras) {
    for (Weighted weighted : loras) {
      weighted.lora().notes().forEach(note -> notes.add(weighted.lora().file() + ": " + note));
    }
    scheduler =
        loras.stream()
            .map(weighted -> weighted.lora().scheduler())
            .filter(own -> own != null && SchedulerConfig.isStudents(own))
            .reduce(null, (earlier, later) -> later);
  }

  /** A LoRA's file and how much of it. */
  public record Source(Path file, double weight) {}

  /**
   * Reads LoRAs and adds them to {@code model}, as {@link #fuse(Map, List)} does.
   *
   * @throws IOException naming the file that cannot be read
   */
  public static AppliedLoras fuse(DiffusionModel model, List<Source> sources) throws IOException {
    List<Weighted> loras = new ArrayList<>();
    try {
      for (Source source : sources) {
        loras.add(new Weighted(LoraFile.read(source.file()), source.weight()));
      }
      return fuse(parts(model), loras);
    } finally {
      loras.forEach(weighted -> weighted.lora().close());
    }
  }

  /**
   * How the model is sampled with them: the scheduler config of the last few-step accelerator among
   * them, null where there is none.
   */
  public @Nullable ObjectNode scheduler() {
    return scheduler == null ? null : scheduler.deepCopy();
  }

  /** What of the files is not used, in words for their user; empty where all is. */
  public List<String> notes() {
    return List.copyOf(notes);
  }

  /** The parts of a model that LoRAs change, by the names that their files use. */
  public static Map<String, Module> parts(DiffusionModel model) {
    Map<String, Module> parts = new LinkedHashMap<>();
    parts.put(LoraNames.UNET, model.unet());
    parts.put(LoraNames.TEXT_ENCODER, model.textEncoder());
    if (model.second() != null) {
      parts.put(LoraNames.TEXT_ENCODER_2, model.second().textEncoder());
    }
    return parts;
  }

  /**
   * Adds the LoRAs to copies of the weights they change: costs their memory, and nothing per step.
   * The files may be closed afterwards.
   *
   * @throws IllegalArgumentException listing layers that the model does not have, or of other
   *     sizes, with nothing changed
   */
  public static AppliedLoras fuse(Map<String, Module> parts, List<Weighted> loras) {
    AppliedLoras applied = new AppliedLoras(loras);
    for (var entry : plan(parts, loras).entrySet()) {
      Parameter parameter = entry.getKey();
      Tensor sum;
      try (Scope scope = Scope.open();
          NoGrad guard = NoGrad.enter()) {
        sum = scope.release(sum(parameter.value(), entry.getValue()));
      }
      applied.fused.add(sum);
      applied.adapt(parameter, stored -> sum);
    }
    return applied;
  }

  /**
   * Keeps the LoRAs apart: every use of a weight adds them anew, which costs time and hardly any
   * memory. The files must stay open.
   *
   * @throws IllegalArgumentException as {@link #fuse}
   */
  public static AppliedLoras attach(Map<String, Module> parts, List<Weighted> loras) {
    AppliedLoras applied = new AppliedLoras(loras);
    plan(parts, loras)
        .forEach((parameter, changes) -> applied.adapt(parameter, stored -> sum(stored, changes)));
    return applied;
  }

  /** In float32, rounded once at the end. */
  private static Tensor sum(Tensor stored, List<Change> changes) {
    try (Scope scope = Scope.open()) {
      Tensor sum = stored.to(DType.F32);
      for (Change change : changes) {
        LoraLayer layer = change.layer().to(stored.device());
        sum = sum.add(layer.change(stored.shape()).mul(change.weight()));
      }
      return scope.keep(sum.to(stored.dtype()));
    }
  }

  private void adapt(Parameter parameter, UnaryOperator<Tensor> change) {
    parameter.adapt(change);
    adapted.add(parameter);
  }

  /** What each weight is changed by; all of it fits, or nothing is begun. */
  private static Map<Parameter, List<Change>> plan(
      Map<String, Module> parts, List<Weighted> loras) {
    Map<String, Map<String, Parameter>> targets = new LinkedHashMap<>();
    parts.forEach((name, part) -> targets.put(name, LoraNames.targets(part)));
    Map<Parameter, List<Change>> plan = new LinkedHashMap<>();
    for (Weighted weighted : loras) {
      List<String> unknown = new ArrayList<>();
      Set<Parameter> changed = Collections.newSetFromMap(new IdentityHashMap<>());
      for (LoraLayer layer : weighted.lora().layers()) {
        Parameter target =
            targets.getOrDefault(layer.part(), Map.of()).get(LoraNames.flat(layer.module()));
        if (target == null) {
          unknown.add(layer.part() + "." + layer.module());
        } else if (!layer.fits(target.shape())) {
          unknown.add(
              "%s.%s (%s·%s there, %s here)"
                  .formatted(
                      layer.part(),
                      layer.module(),
                      Arrays.toString(layer.up().shape()),
                      Arrays.toString(layer.down().shape()),
                      Arrays.toString(target.shape())));
        } else {
          if (!changed.add(target)) {
            throw new IllegalArgumentException(
                "%s changes %s.%s twice, under two names"
                    .formatted(weighted.lora().file(), layer.part(), layer.module()));
          }
          plan.computeIfAbsent(target, unused -> new ArrayList<>())
              .add(new Change(layer, weighted.weight()));
        }
      }
      if (!unknown.isEmpty()) {
        throw new IllegalArgumentException(misfit(weighted.lora(), parts, unknown));
      }
    }
    return plan;
  }

  private static String misfit(LoraFile lora, Map<String, Module> parts, List<String> unknown) {
    Optional<WeightsKind> kind =
        Optional.ofNullable(parts.get(LoraNames.UNET)).flatMap(WeightsKind::of);
    return "%s does not fit this model: %d of its %d layers are unknown or of other sizes: %s; it looks made for %s, the model has: %s"
        .formatted(
            lora.file(),
            unknown.size(),
            lora.layers().size(),
            LoraNames.list(unknown),
            lora.family(),
            kind.map(WeightsKind::label).orElse("no U-Net"));
  }

  /** Gives the model its own weights back. */
  @Override
  public void close() {
    adapted.forEach(Parameter::restore);
    fused.forEach(Tensor::close);
    adapted.clear();
    fused.clear();
  }
}
