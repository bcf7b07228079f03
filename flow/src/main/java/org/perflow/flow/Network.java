package org.perflow.flow;

import java.util.function.BinaryOperator;
import java.util.function.UnaryOperator;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.tensor.DType;
import org.perflow.tensor.Tensor;

/**
 * A network that is told something about every row: bound to that, it is a {@link Denoiser}, alone
 * or guided.
 */
@FunctionalInterface
public interface Network {
  /** The network, told that; float32 out, gradients as the calling thread says. */
  Denoiser given(Conditioning told);

  /**
   * Whether it embeds a number beside time: the scale of its guidance, or what its sampler says of
   * each step.
   */
  default boolean takesNumber() {
    return false;
  }

  /** {@code unet}, computing in the type of the captions that it is told; float32 out. */
  static Network of(UNet2DConditionModel unet) {
    return of(unet, told -> told);
  }

  /** {@code unet}, computing in {@code type}; float32 out. */
  static Network of(UNet2DConditionModel unet, DType type) {
    return of(unet, told -> told.to(type));
  }

  private static Network of(UNet2DConditionModel unet, UnaryOperator<Conditioning> typed) {
    return new Network() {
      @Override
      public Denoiser given(Conditioning condition) {
        Conditioning told = typed.apply(condition);
        DType type = told.text().dtype();
        return (z, timesteps) ->
            unet.forward(
                    z.to(type), timesteps, told.text(), told.added(), told.timestepCond(), null)
                .to(DType.F32);
      }

      @Override
      public boolean takesNumber() {
        return unet.config().takesTimestepCond();
      }
    };
  }

  /**
   * Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598) in diffusers' convention of
   * the scale: {@link Guidance#guide}. A scale of 1 or less means none, as there, and costs a pass
   * of B rows instead of one of 2 B.
   *
   * @param told of the prompts, B rows
   * @param empty of the negative or empty prompts: as many rows, or one for all
   */
  default Denoiser guided(Conditioning told, Conditioning empty, double scale) {
    return guided(told, empty, scale, 0);
  }

  /** The same with the spread taken back by {@code rescale}: {@link Guidance#rescale}. */
  default Denoiser guided(Conditioning told, Conditioning empty, double scale, double rescale) {
    if (scale <= 1) {
      return given(told);
    }
    return guided(
        told,
        empty,
        (none, conditional) -> {
          Tensor guided = Guidance.guide(none, conditional, scale);
          return rescale == 0 ? guided : Guidance.rescale(guided, conditional, rescale);
        });
  }

  /** The same where each row has a scale of its own: {@code scales} [B]. */
  default Denoiser guided(Conditioning told, Conditioning empty, Tensor scales) {
    Tensor each = scales.to(told.text().device()).asRows(4);
    return guided(told, empty, (none, conditional) -> none.add(conditional.sub(none).mul(each)));
  }

  /**
   * Both answers in one pass of twice the rows, and what {@code combined} makes of them.
   *
   * @param combined of the answers to {@code empty} and to {@code told}, [B, C, h, w] each
   */
  default Denoiser guided(Conditioning told, Conditioning empty, BinaryOperator<Tensor> combined) {
    Denoiser both = given(empty.rowsLike(told).cat(told));
    return (z, timesteps) -> {
      Tensor output = both.predict(Tensor.cat(0, z, z), Tensor.cat(0, timesteps, timesteps));
      long rows = z.size(0);
      return combined.apply(output.narrow(0, 0, rows), output.narrow(0, rows, rows));
    };
  }
}
