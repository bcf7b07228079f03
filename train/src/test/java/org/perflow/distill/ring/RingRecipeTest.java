package org.perflow.distill.ring;

import static org.assertj.core.api.Assertions.assertThat;
import static org.assertj.core.api.Assertions.assertThatThrownBy;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.perflow.accelerate.Methods;
import org.perflow.distill.Method;
import org.perflow.tensor.Device;

class RingRecipeTest {
  @TempDir Path temp;

  @BeforeAll
  static void oneThread() {
    Device.threads(1);
  }

  @Test
  void thereIsOneForEveryMethod() {
    List<String> methods = Methods.ALL.stream().map(Method::name).toList();
    assertThat(RingRecipe.ALL).extracting(recipe -> recipe.method().name()).isEqualTo(methods);
    assertThatThrownBy(() -> RingRecipe.of("pferlow"))
        .hasMessageContaining("perflow-published, reflow");
  }

  /**
   * In one step a window it comes near to where the teacher goes, and in two no nearer and no
   * farther, since its paths are straight there; the teacher's DDIM needs the steps.
   */
  @Test
  void perflowLearnsStraightPaths() throws IOException {
    List<Trajectories> trained = Trajectories.train(RingRecipe.of("perflow"), temp);
    Trajectories.Summary four = trained.get(0).summary();
    Trajectories.Summary eight = trained.get(1).summary();
    System.out.printf("perflow on the ring: %s%n%s%n", four, eight);
    assertThat(four.end().energy()).isLessThan(four.ddim().energy() / 1.7);
    assertThat(four.end().paired()).isLessThan(four.ddim().paired() / 1.7);
    assertThat(four.end().paired()).isLessThan(1.8 * eight.end().paired());
    float[] first = trained.get(0).states().get(1);
    float[] both = trained.get(1).states().get(2);
    assertThat(trained.get(1).betweenWindows(2)).isTrue();
    assertThat(trained.get(1).betweenWindows(1)).isFalse();
    double sum = 0;
    for (int i = 0; i < first.length; i++) {
      sum += Math.pow(first[i] - both[i], 2);
    }
    assertThat(Math.sqrt(sum / first.length)).isLessThan(0.1); // the noise's deviation is 1
  }
}
