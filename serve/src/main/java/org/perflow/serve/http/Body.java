package org.perflow.serve.http;

import com.fasterxml.jackson.core.JsonFactory;
import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.StreamReadConstraints;
import com.fasterxml.jackson.core.StreamReadFeature;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.javalin.http.Context;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.util.HexFormat;
import java.util.Locale;
import org.perflow.io.Json;

/**
 * What requests carry, read whole and no further than allowed. Thread-safe.
 *
 * <p>JSON alone is taken, and said to be so: a page of another site cannot send that without the
 * browser asking first.
 */
final class Body {
  private static final int PART = 1 << 16; // bytes read at once
  private static final int PATIENCE = 30; // seconds
  private static final int SLOWEST = 1000; // bytes a second; one that drips would hold a thread

  private final int maxBytes;
  private final int maxPixels;
  private final ObjectMapper mapper;

  Body(int maxBytes, int maxPixels) {
    this.maxBytes = maxBytes;
    this.maxPixels = maxPixels;
    StreamReadConstraints limits =
        StreamReadConstraints.builder().maxNestingDepth(32).maxStringLength(maxBytes).build();
    mapper =
        JsonMapper.builder(JsonFactory.builder().streamReadConstraints(limits).build())
            .enable(StreamReadFeature.STRICT_DUPLICATE_DETECTION)
            .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
            .build();
  }

  /** Refuses what says itself that it is too large. */
  void checkLength(Context ctx) {
    if (ctx.req().getContentLengthLong() > maxBytes) {
      throw tooLarge();
    }
  }

  /** What is said to be JSON, for {@link #fields(byte[])}. */
  byte[] json(Context ctx) {
    String type = String.valueOf(ctx.contentType()).toLowerCase(Locale.ROOT);
    if (!type.startsWith("application/json")) {
      throw new Problem(
          415, "the content type is %s; want application/json".formatted(brief(type)), null);
    }
    return bytes(ctx);
  }

  private byte[] bytes(Context ctx) {
    checkLength(ctx);
    long begin = System.nanoTime();
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    try (InputStream in = ctx.bodyInputStream()) {
      byte[] part = new byte[PART];
      for (int read = in.read(part); read >= 0; read = in.read(part)) {
        bytes.write(part, 0, read);
        if (bytes.size() > maxBytes) {
          throw tooLarge();
        }
        long seconds = (System.nanoTime() - begin) / 1_000_000_000;
        if (seconds > PATIENCE + bytes.size() / SLOWEST) {
          throw new Problem(408, "the request came too slowly", null);
        }
      }
      return bytes.toByteArray();
    } catch (IOException e) {
      throw Problem.bad(null, "the request ended before it was whole");
    }
  }

  private Problem tooLarge() {
    return new Problem(
        413, "the request has more than the %,d bytes allowed".formatted(maxBytes), null);
  }

  /** A JSON object. */
  Fields fields(Context ctx) {
    return fields(json(ctx));
  }

  Fields fields(byte[] json) {
    try {
      JsonNode node = mapper.readTree(json);
      if (!(node instanceof ObjectNode object)) {
        throw Problem.bad(null, "the request is no JSON object");
      }
      return new Fields(object, maxPixels);
    } catch (JsonProcessingException e) {
      throw Problem.bad(null, "the request is no JSON: " + brief(Json.explain(e)));
    } catch (IOException e) {
      throw Problem.bad(null, "the request is no JSON");
    }
  }

  /** Form fields, to be filled as JSON is. */
  Fields form() {
    return new Fields(mapper.createObjectNode(), maxPixels);
  }

  static String brief(String text) {
    return text.length() > 200 ? text.substring(0, 200) + "..." : text;
  }

  /** A name for content: the same for the same. */
  static String fingerprint(String route, byte[] content) {
    return route + " " + HexFormat.of().formatHex(ApiKeys.digest(content));
  }
}
