package org.perflow.models;

import java.io.IOException;
import org.junit.jupiter.api.Test;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;

class AutoencoderTinyTest {
  private static final String FILE = "modules/taesd.safetensors";

  @Test
  void equalsDiffusers() throws IOException {
    try (var tiny = AutoencoderTiny.load(Golden.ROOT.resolve("models/taesd"), DType.F32);
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Golden.assertClose(
          "taesd encode",
          tiny.encode(Golden.read(FILE, "image_in")),
          Golden.read(FILE, "latent_from_image"));
      Golden.assertClose(
          "taesd decode", tiny.decode(Golden.read(FILE, "latent")), Golden.read(FILE, "decoded"));
    }
  }
}
