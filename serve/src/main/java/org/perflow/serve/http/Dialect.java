package org.perflow.serve.http;

import io.javalin.config.RoutesConfig;

/** A way of asking for pictures that clients know. */
interface Dialect {
  /** Adds its routes. */
  void addTo(RoutesConfig routes);

  /** Whether {@code path} is one of its own. */
  boolean speaks(String path);

  /** A refusal as its clients expect it, to be written as JSON. */
  Object error(Problem problem);
}
