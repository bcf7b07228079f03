package org.perflow.cli;

import static org.assertj.core.api.Assertions.assertThat;

import java.io.IOException;
import java.io.StringWriter;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import javax.tools.JavaCompiler;
import javax.tools.StandardJavaFileManager;
import javax.tools.ToolProvider;

/** Compiles source text on the class path of the tests. */
final class JavaSource {
  private JavaSource() {}

  /** Compiles the files into {@code folder}, or fails with the compiler's words and the source. */
  static void compile(Path folder, List<Path> files) throws IOException {
    JavaCompiler compiler = ToolProvider.getSystemJavaCompiler();
    StringWriter messages = new StringWriter();
    List<String> options =
        List.of("-proc:none", "-cp", System.getProperty("java.class.path"), "-d", "" + folder);
    try (StandardJavaFileManager manager = compiler.getStandardFileManager(null, null, null)) {
      boolean compiled =
          compiler
              .getTask(
                  messages,
                  manager,
                  null,
                  options,
                  null,
                  manager.getJavaFileObjects(files.toArray(Path[]::new)))
              .call();
      assertThat(compiled).as("%s%n%s", messages, text(files)).isTrue();
    }
  }

  private static String text(List<Path> files) throws IOException {
    return files.size() == 1 ? Files.readString(files.get(0)) : files.toString();
  }
}
