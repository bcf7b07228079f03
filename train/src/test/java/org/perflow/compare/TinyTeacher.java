package org.perflow.compare;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.perflow.io.Json;
import org.perflow.io.Sample;
import org.perflow.io.ShardWriter;
import org.perflow.train.Golden;

/** A teacher of a few thousand weights, and captioned pictures to teach its students. */
public final class TinyTeacher {
  private TinyTeacher() {}

  /** Its folder, sampled by {@code type} from timesteps among which windows have their edges. */
  public static Path in(Path folder, String type) throws IOException {
    try (Stream<Path> files = Files.walk(Golden.FOLDER)) {
      for (Path file : files.toList()) {
        Files.copy(file, folder.resolve(Golden.FOLDER.relativize(file).toString()));
      }
    }
    Path scheduler = folder.resolve("scheduler/scheduler_config.json");
    ObjectNode config = (ObjectNode) Json.read(scheduler);
    config.put("_class_name", type).put("timestep_spacing", "trailing");
    Json.write(scheduler, config);
    return folder;
  }

  /** Six pictures to learn from, and six captions held out. */
  public static Path data(Path folder) throws IOException {
    Files.createDirectories(folder);
    shard(folder.resolve("train-0.tar"), 0);
    shard(folder.resolve("test.tar"), 6);
    return folder;
  }

  private static void shard(Path file, int first) throws IOException {
    try (ShardWriter writer = new ShardWriter(file)) {
      for (int i = first; i < first + 6; i++) {
        BufferedImage image = new BufferedImage(32, 32, BufferedImage.TYPE_INT_RGB);
        image.createGraphics().drawString("" + i, 4, 20);
        ByteArrayOutputStream png = new ByteArrayOutputStream();
        ImageIO.write(image, "png", png);
        ObjectNode none = Json.MAPPER.createObjectNode();
        writer.write(new Sample("", "p" + i, png.toByteArray(), "picture " + i, none));
      }
      writer.finish();
    }
  }
}
