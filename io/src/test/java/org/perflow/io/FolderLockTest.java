package org.perflow.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;
import static org.assertj.core.api.Assertions.catchThrowable;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FolderLockTest {
  @TempDir Path temp;

  /** Takes a folder and holds it until it is killed. */
  public static final class Holder {
    public static void main(String[] args) throws Exception {
      FolderLock lock = FolderLock.take(Path.of(args[0]));
      System.out.println("taken");
      Thread.sleep(600_000);
      lock.close();
    }
  }

  @Test
  void oneProcessHasItUntilItIsKilled() throws Exception {
    Path folder = temp.resolve("run");
    Process holder =
        new ProcessBuilder(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-cp",
                System.getProperty("java.class.path"),
                Holder.class.getName(),
                folder.toString())
            .redirectError(ProcessBuilder.Redirect.INHERIT)
            .start();
    try (var out =
        new BufferedReader(
            new InputStreamReader(holder.getInputStream(), StandardCharsets.UTF_8))) {
      assertThat(out.readLine()).isEqualTo("taken");
      for (int i = 0; i < 2; i++) { // a refusal does not take it away
        assertThatThrownBy(() -> FolderLock.take(folder))
            .isInstanceOf(IOException.class)
            .hasMessageStartingWith(folder + " is being written by another perflow (process ")
            .hasMessageContaining("process " + holder.pid() + " on ");
      }
    } finally {
      holder.destroyForcibly().waitFor(); // no time to give anything free
    }
    FolderLock.take(folder).close();
  }

  @Test
  void oneThreadHasItUntilItIsClosedAsOften() throws Exception {
    Path folder = temp.resolve("run");
    try (FolderLock lock = FolderLock.take(folder)) {
      FolderLock.take(temp.resolve("./run")).close(); // by the same thread
      assertThat(refusedElsewhere(folder))
          .hasMessageContaining("process " + ProcessHandle.current().pid());
      FolderLock.take(temp.resolve("other")).close();
    }
    assertThat(refusedElsewhere(folder)).isNull();
    try (var left = Files.list(folder)) {
      assertThat(left.map(path -> path.getFileName().toString())).containsExactly(".lock");
    }
  }

  private static Throwable refusedElsewhere(Path folder) throws Exception {
    Throwable[] refused = new Throwable[1];
    Thread other =
        new Thread(() -> refused[0] = catchThrowable(() -> FolderLock.take(folder).close()));
    other.start();
    other.join();
    return refused[0];
  }

  @Test
  void whatStandsInTheFileIsNotPrintedAsItIs() throws IOException {
    Path folder = Files.createDirectories(temp.resolve("run"));
    Files.writeString(folder.resolve(".lock"), "\u001b[2J");
    FolderLock.take(folder).close(); // nobody holds it
  }
}
