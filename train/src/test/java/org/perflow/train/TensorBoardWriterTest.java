package org.perflow.train;

import static org.assertj.core.api.Assertions.assertThat;

import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.HexFormat;
import java.util.List;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TensorBoardWriterTest {
  @TempDir Path temp;

  @Test
  void scalarRecordIsTheOneThatTensorFlowWrites() {
    // wall_time 1.5, step 300, { tag "loss", simple_value 0.25 }, encoded by hand
    byte[] event =
        TensorBoardWriter.event(
            1.5, 300, new TensorBoardWriter.Message().text(1, "loss").real(2, 0.25f));
    assertThat(HexFormat.of().formatHex(event))
        .isEqualTo(
            "09000000000000f83f" + "10ac02" + "2a0d" + "0a0b" + "0a046c6f7373" + "150000803e");

    // tensorflow's own crc32c test vector: 32 zero bytes have crc 8a9136aa, masked by its rule
    byte[] record = TensorBoardWriter.record(new byte[32]);
    ByteBuffer bytes = ByteBuffer.wrap(record).order(ByteOrder.LITTLE_ENDIAN);
    assertThat(bytes.getLong(0)).isEqualTo(32);
    int crc = 0x8a9136aa;
    assertThat(bytes.getInt(44)).isEqualTo(((crc >>> 15) | (crc << 17)) + 0xa282ead8);
    assertThat(record).hasSize(48);
  }

  @Test
  void fileHoldsVersionScalarAndPicture() throws IOException {
    try (TensorBoardWriter writer = new TensorBoardWriter(temp)) {
      writer.scalar("loss", 1, 0.5);
      writer.image("grid", 1, new BufferedImage(3, 2, BufferedImage.TYPE_INT_RGB));
    }
    List<byte[]> records = new ArrayList<>();
    try (var files = Files.list(temp)) {
      Path file = files.findFirst().orElseThrow();
      assertThat(file.getFileName().toString()).startsWith("events.out.tfevents.");
      ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(file)).order(ByteOrder.LITTLE_ENDIAN);
      while (bytes.hasRemaining()) {
        byte[] data = new byte[Math.toIntExact(bytes.getLong())];
        bytes.getInt();
        bytes.get(data).getInt();
        records.add(data);
      }
    }
    assertThat(records).hasSize(3);
    assertThat(new String(records.get(0), StandardCharsets.ISO_8859_1)).contains("brain.Event:2");
    String picture = new String(records.get(2), StandardCharsets.ISO_8859_1);
    byte[] png =
        picture.substring(picture.indexOf("\u0089PNG")).getBytes(StandardCharsets.ISO_8859_1);
    assertThat(ImageIO.read(new ByteArrayInputStream(png)).getWidth()).isEqualTo(3);
  }
}
