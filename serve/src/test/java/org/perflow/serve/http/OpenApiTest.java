package org.perflow.serve.http;

import static org.assertj.core.api.Assertions.assertThat;

import com.fasterxml.jackson.databind.JsonNode;
import io.swagger.v3.parser.OpenAPIV3Parser;
import io.swagger.v3.parser.core.models.SwaggerParseResult;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import org.junit.jupiter.api.Test;

/** The document says what the server does: all routes and no others, all fields and no others. */
class OpenApiTest {
  private static final List<String> PAGE =
      List.of("GET /", "GET /page.css", "GET /page.js", "GET /icon.svg", "GET /openapi.json");

  @Test
  void describesTheServer() throws Exception {
    try (Serving serving = Serving.start()) {
      String text = serving.get("/openapi.json").body();
      SwaggerParseResult parsed = new OpenAPIV3Parser().readContents(text);
      assertThat(parsed.getMessages()).isEmpty();
      assertThat(parsed.getOpenAPI().getPaths()).isNotEmpty();

      JsonNode document = Serving.json(serving.get("/openapi.json"));
      List<String> told = new ArrayList<>();
      document
          .path("paths")
          .properties()
          .forEach(
              path ->
                  path.getValue()
                      .fieldNames()
                      .forEachRemaining(
                          method ->
                              told.add(method.toUpperCase(Locale.ROOT) + " " + path.getKey())));
      List<String> routes = new ArrayList<>(serving.server.routes());
      routes.removeAll(PAGE);
      assertThat(told).containsExactlyInAnyOrderElementsOf(routes);

      List<String> fields = new ArrayList<>();
      document
          .at("/components/schemas/JobRequest/properties")
          .fieldNames()
          .forEachRemaining(fields::add);
      assertThat(fields).containsExactlyInAnyOrderElementsOf(Jobs.FIELDS);
    }
  }
}
