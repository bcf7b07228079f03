package org.perflow.serve.http;

import io.javalin.http.Context;
import io.javalin.http.UploadedFile;
import java.awt.Color;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.InputStream;
import java.math.BigDecimal;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.jspecify.annotations.Nullable;

/**
 * A picture that is to be changed, as OpenAI's clients send it, in parts.
 *
 * @param fields the other parts, as JSON would have them
 * @param mask white where to draw anew; null for everywhere
 * @param content the same for the same form, whatever its parts are divided by
 */
record EditForm(Fields fields, BufferedImage image, @Nullable BufferedImage mask, byte[] content) {
  private static final Set<String> NUMBERS =
      Set.of("n", "output_compression", "partial_images", "seed", "steps", "strength");
  private static final int DIGITS = 30; // reading more would take long

  static EditForm read(Context ctx, Body body) throws IOException {
    if (!ctx.isMultipartFormData()) {
      throw new Problem(415, "edits are sent as multipart/form-data", null);
    }
    ByteArrayOutputStream content = new ByteArrayOutputStream();
    Map<String, List<UploadedFile>> files = files(ctx, body);
    Fields fields = fields(ctx, body, content);
    byte[] picture = file(files, "image", content);
    byte[] mask = file(files, "mask", content);
    if (picture == null) {
      throw Problem.bad("image", "there is no image; send the picture to change");
    }
    int most = fields.maxPixels();
    BufferedImage image = Fields.decode("image", picture, Color.WHITE, most);
    BufferedImage anew =
        mask == null ? transparency("image", picture, most) : transparency("mask", mask, most);
    if (mask != null && anew == null) {
      throw Problem.bad("mask", "mask has no transparent part, which says what to change");
    }
    return new EditForm(fields, image, anew, content.toByteArray());
  }

  private static Map<String, List<UploadedFile>> files(Context ctx, Body body) {
    body.checkLength(ctx);
    try {
      return ctx.uploadedFileMap();
    } catch (Exception e) { // Kotlin hides that checked ones come from there, too
      throw Problem.bad(null, "the form cannot be read, or is larger than allowed");
    }
  }

  private static byte @Nullable [] file(
      Map<String, List<UploadedFile>> files, String name, ByteArrayOutputStream content)
      throws IOException {
    List<UploadedFile> sent = new ArrayList<>(files.getOrDefault(name, List.of()));
    sent.addAll(files.getOrDefault(name + "[]", List.of()));
    if (sent.size() > 1) {
      throw Problem.bad(name, "there are %d of %s; one can be used".formatted(sent.size(), name));
    }
    if (sent.isEmpty()) {
      return null;
    }
    try (InputStream in = sent.get(0).content()) {
      byte[] bytes = in.readAllBytes();
      content.writeBytes(ApiKeys.digest(bytes));
      return bytes;
    }
  }

  private static Fields fields(Context ctx, Body body, ByteArrayOutputStream content) {
    Fields fields = body.form();
    for (var entry : ctx.formParamMap().entrySet()) {
      if (entry.getValue().isEmpty()) { // a file
        continue;
      }
      String name = entry.getKey();
      String value = entry.getValue().get(0);
      content.writeBytes((name + "=" + value + "\n").getBytes(StandardCharsets.UTF_8));
      if (NUMBERS.contains(name)) {
        fields.values().put(name, number(name, value));
      } else if (name.equals("stream")) {
        fields.values().put(name, value.equals("true"));
      } else {
        fields.values().put(name, value);
      }
    }
    return fields;
  }

  private static BigDecimal number(String name, String value) {
    try {
      if (value.length() <= DIGITS) {
        return new BigDecimal(value);
      }
    } catch (NumberFormatException e) {
      // said below
    }
    throw Problem.bad(name, "%s is %s; want a number".formatted(name, Body.brief(value)));
  }

  /**
   * White where the picture is transparent, which is what to draw anew; null where it is nowhere.
   * What is transparent differs on black and on white.
   */
  private static @Nullable BufferedImage transparency(String name, byte[] file, int most) {
    BufferedImage black = Fields.decode(name, file, Color.BLACK, most);
    BufferedImage white = Fields.decode(name, file, Color.WHITE, most);
    boolean any = false;
    for (int y = 0; y < black.getHeight(); y++) {
      for (int x = 0; x < black.getWidth(); x++) {
        int seen = (white.getRGB(x, y) & 0xFF) - (black.getRGB(x, y) & 0xFF);
        boolean through = seen > 127;
        any |= through;
        black.setRGB(x, y, through ? 0xFFFFFF : 0);
      }
    }
    return any ? black : null;
  }
}
