package org.perflow.models;

import java.util.ArrayList;
import java.util.List;
import java.util.function.UnaryOperator;
import org.perflow.tensor.NoGrad;
import org.perflow.tensor.Scope;
import org.perflow.tensor.Tensor;

/**
 * A network over a large map in tiles that overlap by a quarter and are blended there, so that
 * memory depends on the tile and not on the map: as diffusers' {@code enable_tiling}. Without
 * gradients.
 */
final class Tiles {
  private static final double OVERLAP = 0.25;

  private Tiles() {}

  /**
   * {@code network} on tiles of {@code tile} × {@code tile} pixels, each of which it makes {@code
   * made} × {@code made}; owned by the caller's scope.
   */
  static Tensor map(Tensor x, int tile, int made, UnaryOperator<Tensor> network) {
    int stride = Math.max(1, (int) (tile * (1 - OVERLAP)));
    int blend = (int) (made * OVERLAP);
    try (Scope scope = Scope.open();
        NoGrad guard = NoGrad.enter()) {
      List<List<Tensor>> tiles = new ArrayList<>();
      for (long top = 0; top < x.size(2); top += stride) {
        List<Tensor> row = new ArrayList<>();
        for (long left = 0; left < x.size(3); left += stride) {
          row.add(one(x, top, left, tile, network));
        }
        tiles.add(row);
      }
      return scope.keep(join(tiles, made - blend, blend));
    }
  }

  private static Tensor one(
      Tensor x, long top, long left, int tile, UnaryOperator<Tensor> network) {
    try (Scope scope = Scope.open()) {
      Tensor part =
          x.narrow(2, top, Math.min(tile, x.size(2) - top))
              .narrow(3, left, Math.min(tile, x.size(3) - left));
      return scope.keep(network.apply(part).copy());
    }
  }

  /** Each tile fades in over its upper and left neighbours, which are already blended. */
  private static Tensor join(List<List<Tensor>> tiles, int limit, int blend) {
    List<Tensor> rows = new ArrayList<>();
    for (int i = 0; i < tiles.size(); i++) {
      List<Tensor> row = new ArrayList<>();
      for (int j = 0; j < tiles.get(i).size(); j++) {
        Tensor tile = tiles.get(i).get(j);
        if (i > 0) {
          fade(2, tiles.get(i - 1).get(j), tile, blend);
        }
        if (j > 0) {
          fade(3, tiles.get(i).get(j - 1), tile, blend);
        }
        row.add(
            tile.narrow(2, 0, Math.min(limit, tile.size(2)))
                .narrow(3, 0, Math.min(limit, tile.size(3))));
      }
      rows.add(Tensor.cat(3, row));
    }
    return Tensor.cat(2, rows);
  }

  /** The first {@code extent} lines of {@code after}, in place, from the last of {@code before}. */
  private static void fade(int dim, Tensor before, Tensor after, int extent) {
    long length = Math.min(extent, Math.min(before.size(dim), after.size(dim)));
    if (length == 0) {
      return;
    }
    Tensor ramp = Tensor.arange(length).to(after.dtype()).div(length); // 0 ... 1 - 1/length
    ramp = ramp.to(after.device());
    ramp = dim == 2 ? ramp.reshape(1, 1, length, 1) : ramp.reshape(1, 1, 1, length);
    Tensor from = before.narrow(dim, before.size(dim) - length, length);
    Tensor to = after.narrow(dim, 0, length);
    to.copyInPlace(from.add(to.sub(from).mul(ramp)));
  }
}
