package org.perflow.models;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.IOException;
import org.junit.jupiter.api.Test;
import org.perflow.io.Json;
import org.perflow.tensor.DType;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

class AutoencoderKLTest {
  private static final String FILE = "modules/vae.safetensors";

  @Test
  void equalsDiffusers() throws IOException {
    try (var vae = AutoencoderKL.load(Golden.SD15.resolve("vae"), DType.F32);
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor moments = vae.encodeMoments(Golden.read(FILE, "image"));
      Golden.assertClose(moments.narrow(1, 0, 4), Golden.read(FILE, "mean"));
      Golden.assertClose(moments.narrow(1, 4, 4), Golden.read(FILE, "logvar"));
      Golden.assertClose(vae.decode(Golden.read(FILE, "latent")), Golden.read(FILE, "decoded"));
    }
  }

  @Test
  void tilesEqualDiffusers() throws IOException {
    String file = "modules/vae_tiled.safetensors";
    try (var vae = AutoencoderKL.load(Golden.SD15.resolve("vae"), DType.F32);
        Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      Tensor decoded = Golden.read(file, "decoded"); // 24 x 21 latents in tiles of 16
      Golden.assertClose("vae tiled decode", vae.decodeTiled(Golden.read(file, "latent")), decoded);
      Golden.assertClose(
          "vae tiled encode", vae.encodeMomentsTiled(decoded), Golden.read(file, "moments"));
      Tensor small = Golden.read(FILE, "latent"); // 16 x 12: one tile
      Golden.assertClose("vae one tile", vae.decodeTiled(small), Golden.read(FILE, "decoded"));
    }
  }

  @Test
  void configRoundTripsAndRefusesWhatIsNotBuilt() throws IOException {
    ObjectNode json = (ObjectNode) Json.read(Golden.SD15.resolve("vae/config.json"));
    VaeConfig config = VaeConfig.of(json);
    assertThat(VaeConfig.of(config.toJson())).isEqualTo(config);
    assertThat(config.downsampling()).isEqualTo(4);
    json.putArray("down_block_types").add("AttnDownEncoderBlock2D");
    assertThatThrownBy(() -> VaeConfig.of(json)).hasMessageContaining("AttnDownEncoderBlock2D");
  }
}
