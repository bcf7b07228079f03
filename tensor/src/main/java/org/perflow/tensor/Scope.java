package org.perflow.tensor;

import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerScope;
import org.jspecify.annotations.Nullable;

/**
 * Owns the native memory of every tensor made on this thread while it is the innermost open scope;
 * closing frees them, but for those given to {@link #keep}. Open one per step or per call, in
 * try-with-resources. Scopes are per thread and nest; a scope must be closed by the thread that
 * opened it. A tensor made outside every scope is freed by {@link Tensor#close} or, late, by the
 * garbage collector.
 */
public final class Scope implements AutoCloseable {
  static {
    Natives.prepare();
  }

  private final PointerScope scope = new PointerScope();

  private Scope() {}

  /** Opens a scope on this thread, inside those already open. */
  public static Scope open() {
    return new Scope();
  }

  /**
   * Hands {@code tensor} to the enclosing scope or, where there is none, to the caller, who closes
   * it.
   */
  public Tensor keep(Tensor tensor) {
    PointerScope outer = outer();
    if (outer == null) {
      return release(tensor);
    }
    outer.attach(tensor.raw);
    scope.detach(tensor.raw);
    return tensor;
  }

  /** Takes {@code tensor} out of every scope: the caller owns it and closes it. */
  public Tensor release(Tensor tensor) {
    tensor.raw.retainReference(); // so that detaching does not free it
    scope.detach(tensor.raw);
    return tensor;
  }

  private @Nullable PointerScope outer() {
    var scopes = PointerScope.getScopeIterator(); // innermost first
    while (scopes != null && scopes.hasNext()) {
      if (scopes.next() == scope) {
        return scopes.hasNext() ? scopes.next() : null;
      }
    }
    throw new IllegalStateException(
        "a scope is used by the thread that opened it, while it is open");
  }

  /** Frees everything made since {@link #open} that was not kept. */
  @Override
  public void close() {
    scope.close();
  }

  /** Native objects that exist now, over all threads: flat over a loop that does not leak. */
  public static long liveObjects() {
    return Pointer.totalCount();
  }

  /** Physical memory of the process in bytes, as the operating system counts it. */
  public static long physicalBytes() {
    return Pointer.physicalBytes();
  }
}
