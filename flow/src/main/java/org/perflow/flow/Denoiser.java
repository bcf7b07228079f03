package org.perflow.flow;

import java.util.function.BinaryOperator;
import org.perflow.models.UNet2DConditionModel;
import org.perflow.tensor.DType;
import org.perflow.tensor.Tensor;

/**
 * A network with its conditioning bound: all that solvers and samplers need to know. The result
 * belongs to the caller's scope; gradients are recorded as the calling thread says.
 */
@FunctionalInterface
public interface Denoiser {
  /**
   * The network's output.
   *
   * @param z [B, C, h, w]
   * @param timesteps float32 [B]: index 0 ... 999 for a teacher, 1000 t for a student
   * @return [B, C, h, w]
   */
  Tensor predict(Tensor z, Tensor timesteps);

  /** {@code unet} on {@code text} [B, L, D], computing in text's dtype; float32 out. */
  static Denoiser of(UNet2DConditionModel unet, Tensor text) {
    return of(unet, new Conditioning(text, null));
  }

  /** {@code unet} on what it is told, computing in the text's dtype; float32 out. */
  static Denoiser of(UNet2DConditionModel unet, Conditioning told) {
    DType type = told.text().dtype();
    return (z, timesteps) ->
        unet.forward(z.to(type), timesteps, told.text(), told.added(), told.timestepCond(), null)
            .to(DType.F32);
  }

  /**
   * Classifier-free guidance (Ho and Salimans 2022, arXiv 2207.12598) in diffusers' convention of
   * the scale. A scale of 1 or less means none, as there, and costs one network pass instead of
   * two.
   *
   * @param negative of the negative or empty prompts, as many rows as {@code positive}
   */
  static Denoiser guided(
      UNet2DConditionModel unet, Conditioning positive, Conditioning negative, double scale) {
    if (scale <= 1) {
      return of(unet, positive);
    }
    return guided(of(unet, negative.cat(positive)), scale);
  }

  /**
   * The same of a network that is told the negative rows, then the positive ones: both halves in
   * one pass.
   */
  static Denoiser guided(Denoiser both, double scale) {
    return halves(both, (none, conditional) -> guide(none, conditional, scale));
  }

  /** The same where each row has a scale of its own: {@code scales} [B]. */
  static Denoiser guided(Denoiser both, Tensor scales) {
    Tensor each = scales.asRows(4);
    return halves(both, (none, conditional) -> none.add(conditional.sub(none).mul(each)));
  }

  private static Denoiser halves(Denoiser both, BinaryOperator<Tensor> combined) {
    return (z, timesteps) -> {
      Tensor output = both.predict(Tensor.cat(0, z, z), Tensor.cat(0, timesteps, timesteps));
      long rows = z.size(0);
      return combined.apply(output.narrow(0, 0, rows), output.narrow(0, rows, rows));
    };
  }

  /**
   * Takes the spread of a guided output back towards that of {@code conditional}, against the
   * overexposure that large scales bring (Lin et al. 2023, arXiv 2305.08891, section 3.4).
   *
   * @param guided [B, ...], each row by itself
   * @param amount 0 changes nothing, 1 gives all of it back
   */
  static Tensor rescale(Tensor guided, Tensor conditional, double amount) {
    Tensor ratio = deviation(conditional).div(deviation(guided)); // [B, 1]
    Tensor rows = guided.reshape(guided.size(0), -1);
    return rows.mul(ratio.mul(amount).add(1 - amount)).reshape(guided.shape());
  }

  /** Of each row, [B, 1], but for a factor that depends on the number of elements alone. */
  private static Tensor deviation(Tensor x) {
    Tensor rows = x.reshape(x.size(0), -1);
    Tensor centred = rows.sub(rows.mean(1).unsqueeze(1));
    return centred.mul(centred).mean(1).sqrt().unsqueeze(1);
  }

  /** unconditional + scale × (conditional − unconditional). */
  static Tensor guide(Tensor unconditional, Tensor conditional, double scale) {
    return unconditional.add(conditional.sub(unconditional).mul(scale));
  }
}
