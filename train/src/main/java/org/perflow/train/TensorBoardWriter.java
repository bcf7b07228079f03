package org.perflow.train;

import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.OutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.zip.CRC32C;
import javax.imageio.ImageIO;

/**
 * Writes event files that TensorBoard reads: TFRecord framing around {@code Event} protocol
 * buffers, of which scalars and PNG pictures are all we need, so they are put together by hand
 * (tensorflow/core/util/event.proto, framework/summary.proto). Every record is flushed. One thread.
 */
public final class TensorBoardWriter implements TrainListener, AutoCloseable {
  private static final int MASK_DELTA = 0xa282ead8; // tensorflow/core/lib/hash/crc32c.h

  private final OutputStream out;

  /** Starts a new event file in {@code folder}. */
  public TensorBoardWriter(Path folder) throws IOException {
    Files.createDirectories(folder);
    String name =
        "events.out.tfevents.%d.perflow.%d.%d"
            .formatted(
                System.currentTimeMillis() / 1000,
                ProcessHandle.current().pid(),
                System.nanoTime());
    out = Files.newOutputStream(folder.resolve(name));
    write(new Message().number(1, seconds()).text(3, "brain.Event:2").bytes());
  }

  /** A curve's point. */
  public void scalar(String tag, long step, double value) throws IOException {
    write(event(seconds(), step, new Message().text(1, tag).real(2, (float) value)));
  }

  /** A picture. */
  public void image(String tag, long step, BufferedImage image) throws IOException {
    ByteArrayOutputStream png = new ByteArrayOutputStream();
    ImageIO.write(image, "png", png);
    Message picture =
        new Message()
            .integer(1, image.getHeight())
            .integer(2, image.getWidth())
            .integer(3, 3) // RGB
            .block(4, png.toByteArray());
    write(event(seconds(), step, new Message().text(1, tag).block(4, picture.bytes())));
  }

  @Override
  public void onStep(Report report) throws IOException {
    scalar("train/loss", report.step(), report.loss());
    scalar("train/gradient_norm", report.step(), report.gradientNorm());
    scalar("train/learning_rate", report.step(), report.learningRate());
    scalar("train/images_per_second", report.step(), report.imagesPerSecond());
  }

  @Override
  public void onSample(long step, BufferedImage grid) throws IOException {
    image("samples", step, grid);
  }

  @Override
  public void close() throws IOException {
    out.close();
  }

  /** Event { wall_time = 1, step = 2, summary = 5 { value = 1 } }. */
  static byte[] event(double seconds, long step, Message value) {
    return new Message()
        .number(1, seconds)
        .integer(2, step)
        .block(5, new Message().block(1, value.bytes()).bytes())
        .bytes();
  }

  private static double seconds() {
    return System.currentTimeMillis() / 1000.0;
  }

  private void write(byte[] event) throws IOException {
    out.write(record(event));
    out.flush();
  }

  /** Length, its checksum, data, its checksum; all little-endian. */
  static byte[] record(byte[] data) {
    byte[] length =
        ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(data.length).array();
    return ByteBuffer.allocate(16 + data.length)
        .order(ByteOrder.LITTLE_ENDIAN)
        .put(length)
        .putInt(maskedChecksum(length))
        .put(data)
        .putInt(maskedChecksum(data))
        .array();
  }

  private static int maskedChecksum(byte[] data) {
    CRC32C crc = new CRC32C();
    crc.update(data);
    return Integer.rotateRight((int) crc.getValue(), 15) + MASK_DELTA;
  }

  /** A protocol buffer message under construction. */
  static final class Message {
    private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();

    Message integer(int field, long value) {
      varint((long) field << 3);
      varint(value);
      return this;
    }

    Message number(int field, double value) {
      varint((long) field << 3 | 1);
      bytes.writeBytes(little(8).putDouble(value).array());
      return this;
    }

    Message real(int field, float value) {
      varint((long) field << 3 | 5);
      bytes.writeBytes(little(4).putFloat(value).array());
      return this;
    }

    Message block(int field, byte[] value) {
      varint((long) field << 3 | 2);
      varint(value.length);
      bytes.writeBytes(value);
      return this;
    }

    Message text(int field, String value) {
      return block(field, value.getBytes(StandardCharsets.UTF_8));
    }

    byte[] bytes() {
      return bytes.toByteArray();
    }

    private static ByteBuffer little(int size) {
      return ByteBuffer.allocate(size).order(ByteOrder.LITTLE_ENDIAN);
    }

    private void varint(long value) {
      long rest = value;
      while ((rest & ~0x7FL) != 0) {
        bytes.write((int) (rest & 0x7F | 0x80));
        rest >>>= 7;
      }
      bytes.write((int) rest);
    }
  }
}
