package org.perflow.importing;

import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.util.zip.GZIPInputStream;
import org.apache.parquet.bytes.BytesInput;
import org.apache.parquet.compression.CompressionCodecFactory;
import org.apache.parquet.hadoop.metadata.CompressionCodecName;

/**
 * What unpacks the pages of a Parquet file: of gzip by Java, as the library would load a class of
 * Hadoop for it; of all else by the library.
 *
 * @param others the library's own
 */
record GzipPages(CompressionCodecFactory others) implements CompressionCodecFactory {
  private static final BytesInputDecompressor GZIP =
      new BytesInputDecompressor() {
        @Override
        public BytesInput decompress(BytesInput packed, int size) throws IOException {
          return BytesInput.from(unpacked(packed.toByteArray(), size));
        }

        @Override
        public void decompress(ByteBuffer packed, int packedSize, ByteBuffer to, int size)
            throws IOException {
          byte[] bytes = new byte[packedSize];
          packed.get(bytes);
          to.put(unpacked(bytes, size));
        }

        @Override
        public void release() {}
      };

  private static byte[] unpacked(byte[] packed, int size) throws IOException {
    try (GZIPInputStream in = new GZIPInputStream(new ByteArrayInputStream(packed))) {
      byte[] bytes = in.readNBytes(size);
      if (bytes.length < size) {
        throw new IOException("a page of %d bytes ends after %d".formatted(size, bytes.length));
      }
      return bytes;
    }
  }

  @Override
  public BytesInputDecompressor getDecompressor(CompressionCodecName codec) {
    return codec == CompressionCodecName.GZIP ? GZIP : others.getDecompressor(codec);
  }

  @Override
  public BytesInputCompressor getCompressor(CompressionCodecName codec) {
    return others.getCompressor(codec);
  }

  @Override
  public void release() {
    others.release();
  }
}
