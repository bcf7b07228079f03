package org.perflow.io;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import javax.imageio.IIOException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.condition.EnabledOnOs;
import org.junit.jupiter.api.condition.OS;
import org.junit.jupiter.api.io.TempDir;

class AtomicFilesTest {
  @TempDir Path folder;

  private static AtomicFiles.Body text(String text) {
    return out -> out.write(text.getBytes(StandardCharsets.UTF_8));
  }

  private List<Path> files() throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.toList();
    }
  }

  @Test
  void replacesTheContentAndMakesFolders() throws IOException {
    Path file = folder.resolve("a/b/c.txt");
    AtomicFiles.write(file, text("one"));
    AtomicFiles.write(file, text("two"));
    assertThat(file).hasContent("two");
  }

  @Test
  void keepsTheOldContentWhereTheBodyThrows() throws IOException {
    Path file = folder.resolve("c.txt");
    AtomicFiles.write(file, text("old"));
    assertThatThrownBy(
            () ->
                AtomicFiles.write(
                    file,
                    out -> {
                      out.write(new byte[100_000]);
                      throw new IOException("No space left on device");
                    }))
        .isInstanceOf(IOException.class)
        .hasMessageContaining("cannot write " + file + ": the disk is full")
        .hasMessageContaining("untouched");
    assertThatThrownBy(
            () ->
                AtomicFiles.write(
                    file,
                    out -> {
                      throw new IllegalStateException("bug");
                    }))
        .hasMessage("bug");
    assertThat(file).hasContent("old");
    assertThat(files()).containsExactly(file); // nothing half written stays
  }

  @Test
  void replacesAFolder() throws IOException {
    Path target = folder.resolve("model");
    Path prepared = folder.resolve("model.new");
    AtomicFiles.write(target.resolve("unet/old.txt"), text("old"));
    AtomicFiles.write(prepared.resolve("unet/new.txt"), text("new"));
    AtomicFiles.replaceDirectory(prepared, target);
    assertThat(target.resolve("unet/new.txt")).hasContent("new");
    assertThat(target.resolve("unet/old.txt")).doesNotExist();
    assertThat(files()).containsExactly(target);
  }

  @Test
  void recoversAFolderFromAKillBetweenTheRenames() throws IOException {
    Path target = folder.resolve("model");
    AtomicFiles.write(folder.resolve(".model.previous/a.txt"), text("old"));
    AtomicFiles.recoverDirectory(target);
    assertThat(target.resolve("a.txt")).hasContent("old");
    AtomicFiles.recoverDirectory(target); // nothing to do any more
    assertThat(files()).containsExactly(target);
  }

  @Test
  void keepsTheOldFolderWhereThereIsNoNewOne() throws IOException {
    Path target = folder.resolve("model");
    AtomicFiles.write(target.resolve("a.txt"), text("old"));
    assertThatThrownBy(() -> AtomicFiles.replaceDirectory(folder.resolve("none"), target))
        .isInstanceOf(IOException.class);
    assertThat(target.resolve("a.txt")).hasContent("old");
  }

  /** Libraries wrap what the system said: "I/O error writing PNG file!". */
  @Test
  void saysWhatTheSystemSaidFirst() {
    IOException full = new IOException("No space left on device");
    Path file = folder.resolve("p.png");
    assertThatThrownBy(
            () ->
                AtomicFiles.write(
                    file,
                    out -> {
                      throw new IIOException("I/O error writing PNG file!", full);
                    }))
        .hasMessageContaining("cannot write " + file + ": the disk is full (No space left");
  }

  @Test
  void aFileIsNoFolder() throws IOException {
    Path file = Files.writeString(folder.resolve("file"), "x");
    String message = file + " is a file, not a folder";
    assertThatThrownBy(() -> AtomicFiles.write(file.resolve("a.txt"), text("new")))
        .hasMessageContaining("cannot write " + file.resolve("a.txt") + ": " + message);
  }

  @Test
  void findsOutBeforeWhetherAnythingCanBeWritten() throws IOException {
    Path file = Files.writeString(folder.resolve("file"), "x");
    AtomicFiles.checkFolder(folder);
    AtomicFiles.checkFolder(folder.resolve("a/b/c"));
    AtomicFiles.checkFile(file);
    AtomicFiles.checkFile(folder.resolve("a/b.txt"));
    assertThat(files()).containsExactly(file); // nothing is left, nothing made
    for (String under : new String[] {"file", "file/a", "file/a/b"}) {
      assertThatThrownBy(() -> AtomicFiles.checkFolder(folder.resolve(under)))
          .isInstanceOf(FileSystemException.class)
          .hasMessage(file + ": is a file, not a folder");
    }
  }

  @Test
  @EnabledOnOs(OS.LINUX)
  void namesAFolderThatTakesNoFiles() {
    assertThatThrownBy(() -> AtomicFiles.checkFolder(Path.of("/proc/self/out")))
        .isInstanceOf(FileSystemException.class)
        .hasMessageStartingWith("/proc/self: nothing can be written there: ");
  }
}
