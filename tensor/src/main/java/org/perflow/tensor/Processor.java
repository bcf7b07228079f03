package org.perflow.tensor;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.stream.Stream;

/** What the system says of this machine's processor: read once. */
final class Processor {
  /** Name and instruction sets, in small letters; less where the system does not tell. */
  static final String DESCRIPTION = describe();

  private Processor() {}

  /** Whether it has that instruction set, by Linux's name; false where the system does not tell. */
  static boolean has(String flag) {
    return List.of(DESCRIPTION.split("[^a-z0-9_]+")).contains(flag);
  }

  private static String describe() {
    Path linux = Path.of("/proc/cpuinfo");
    if (!Files.isReadable(linux)) {
      return String.valueOf(System.getenv("PROCESSOR_IDENTIFIER"));
    }
    try (Stream<String> lines = Files.lines(linux)) {
      return lines
          .map(line -> line.toLowerCase(Locale.ROOT))
          .filter(line -> line.matches("(model name|flags|features)\\s*:.*"))
          .limit(2)
          .toList()
          .toString();
    } catch (IOException e) {
      return "";
    }
  }
}
