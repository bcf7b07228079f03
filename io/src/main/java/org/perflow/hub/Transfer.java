package org.perflow.hub;

import java.time.Duration;

/**
 * How files travel.
 *
 * @param tries of a request that brings nothing, before it is given up
 * @param pause before the second try; doubles with each further one
 * @param silence after which a connection counts as cut
 * @param piece bytes of a file that are fetched by one request
 * @param parallel pieces of a file that are fetched at a time
 */
record Transfer(int tries, Duration pause, Duration silence, long piece, int parallel) {
  static final Transfer DEFAULTS =
      new Transfer(6, Duration.ofSeconds(1), Duration.ofSeconds(30), 16 << 20, 4);

  /** How long to wait before the next try. */
  Duration pauseAfter(int tries) {
    return pause.multipliedBy(1L << Math.min(tries - 1, 10));
  }
}
