package org.perflow.accelerate;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.catchThrowable;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.io.FolderLock;

class OneRunInAFolderTest {
  private static final Path TEACHER = Path.of("../models/src/test/resources/golden/models/sd15");

  @TempDir Path temp;

  /**
   * Neither is the teacher loaded nor the data read: the shard is empty, which reading would say.
   */
  @Test
  void anotherIsRefusedBeforeAnyWork() throws Exception {
    Path out = temp.resolve("out");
    Path shard = Files.createFile(temp.resolve("train-0.tar"));
    Accelerator accelerator = Accelerator.of(TEACHER).data(shard).out(out);
    ExecutorService other = Executors.newSingleThreadExecutor();
    FolderLock lock = other.submit(() -> FolderLock.take(out)).get();
    try {
      assertThat(catchThrowable(accelerator::run))
          .isInstanceOf(IOException.class)
          .hasMessageStartingWith(out + " is being written by another perflow (process ");
      assertThat(catchThrowable(accelerator::resume))
          .hasMessageContaining("is being written by another perflow");
    } finally {
      lock.close();
      other.shutdown();
    }
    assertThat(catchThrowable(accelerator::run)).hasMessageContaining(shard.toString());
  }
}
