package org.perflow.serve.http;

import org.jspecify.annotations.Nullable;
import org.perflow.serve.RefusedException;

/** What a client is told instead of an answer, each in the form of its dialect. */
final class Problem extends RuntimeException {
  private static final long serialVersionUID = 1;

  private final int status;
  private final @Nullable String param;

  /** {@code param} is the field that it is about, null where it is about none. */
  Problem(int status, String message, @Nullable String param) {
    super(message, null, false, false);
    this.status = status;
    this.param = param;
  }

  /** The request is wrong, in {@code param}. */
  static Problem bad(@Nullable String param, String message) {
    return new Problem(400, message, param);
  }

  static Problem of(RefusedException refused) {
    int status =
        switch (refused.reason()) {
          case BAD_REQUEST -> 400;
          case UNKNOWN -> 404;
          case TOO_LARGE -> 413;
          case CONFLICT -> 422;
          case QUEUE_FULL -> 429;
          case FAILED -> 500;
          case STOPPING, CANCELLED -> 503;
          case TIMEOUT -> 504;
        };
    return new Problem(status, String.valueOf(refused.getMessage()), null);
  }

  int status() {
    return status;
  }

  @Nullable String param() {
    return param;
  }

  /** A word for programs. */
  String code() {
    return switch (status) {
      case 400, 422 -> "invalid_request";
      case 401 -> "invalid_api_key";
      case 403 -> "forbidden";
      case 404 -> "not_found";
      case 405 -> "method_not_allowed";
      case 413 -> "too_large";
      case 415 -> "unsupported_media_type";
      case 429 -> "queue_full";
      case 503 -> "unavailable";
      case 504 -> "timeout";
      default -> status < 500 ? "invalid_request" : "server_error";
    };
  }
}
