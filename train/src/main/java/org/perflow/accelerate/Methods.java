package org.perflow.accelerate;

import java.util.List;
import org.perflow.distill.Method;
import org.perflow.distill.consistency.LcmMethod;
import org.perflow.distill.consistency.PcmMethod;
import org.perflow.distill.consistency.TcdMethod;
import org.perflow.distill.matching.AdversarialMethod;
import org.perflow.distill.matching.Dmd2Method;
import org.perflow.distill.matching.DmdMethod;
import org.perflow.distill.matching.SwiftBrushMethod;
import org.perflow.distill.perflow.PerflowMethod;
import org.perflow.distill.progressive.ProgressiveMethod;
import org.perflow.distill.rectified.InstaflowMethod;
import org.perflow.distill.rectified.ReflowMethod;
import org.perflow.distill.rectified.ShortcutMethod;

/** All methods. */
public final class Methods {
  /** In the order of the documentation. */
  public static final List<Method<?>> ALL =
      List.of(
          PerflowMethod.MEASURED,
          PerflowMethod.PUBLISHED,
          new ReflowMethod(),
          new InstaflowMethod(),
          new ProgressiveMethod(),
          LcmMethod.TOLD,
          LcmMethod.LORA,
          new PcmMethod(),
          new TcdMethod(),
          new DmdMethod(),
          new Dmd2Method(),
          new SwiftBrushMethod(),
          new AdversarialMethod(),
          new ShortcutMethod());

  private Methods() {}

  /**
   * The method of that name.
   *
   * @throws IllegalArgumentException naming those there are
   */
  public static Method<?> of(String name) {
    return ALL.stream()
        .filter(method -> method.name().equals(name))
        .findFirst()
        .orElseThrow(
            () ->
                new IllegalArgumentException(
                    "no method '%s'; expected one of %s"
                        .formatted(name, ALL.stream().map(Method::name).toList())));
  }
}
