// The weight gradient of a 3x3 convolution of channels_last images.
#include "winograd.h"

namespace gan_lt {
namespace GAN_LT_ISA {

// G^T p G for one input channel and one panel of output channels: points [kPoints, pitch] to weight gradients [out, 9, in].
template <int COLUMNS>
static void unpack_weights(const ConvolutionArgs& a, const float* points, int64_t pitch, int64_t panel, int64_t in) {
  constexpr int kWidth = COLUMNS * kLanes;
  for (int q = 0; q < COLUMNS; q++) {
    Vec p[kPatch], half[3 * kPatch], g[9];
    for (int j = 0; j < kPatch; j++) {
#pragma GCC unroll 6
      for (int i = 0; i < kPatch; i++) p[i] = load_vec(points + (i * kPatch + j) * pitch + q * kLanes);
      points_to_weights(p, 1, half + j, kPatch);
    }
    for (int i = 0; i < 3; i++) points_to_weights(half + i * kPatch, 1, g + i * 3, 1);
    const int64_t first = panel * kWidth + q * kLanes;
    for (int64_t k = first; k < first + kLanes && k < a.out; k++)
      for (int t = 0; t < 9; t++) a.d_weight[(k * 9 + t) * a.in + in] = g[t][k - first];
  }
}

template <int COLUMNS>
static void differentiate(const ConvolutionArgs& a) {
  constexpr int kWidth = COLUMNS * kLanes;
  const Tiles tiles(a);
  const int64_t panels = (a.out + kWidth - 1) / kWidth;
  const int64_t in = round_up(round_up(a.in, kLanes), kRows), out = panels * kWidth;
  // Sums over tiles stand at each point: [kPoints, panels, in, width]. Blocks of tiles go through two passes: their points
  // are found tile by tile, and multiplied point by point, so that no sum has two writers and threads change no result.
  const int64_t block = tiles.gradient_block(kPoints * (in + out));
  const int64_t pitch = block * in + kLanes, dy_pitch = block * out + kLanes;
  const int64_t panel_sums = in * kWidth, point_sums = panels * panel_sums + kLanes;
  const Memory<float> points(kPoints * pitch, kZeros), dy_points(kPoints * dy_pitch), sums(kPoints * point_sums);
  for (int64_t first = 0; first < tiles.count; first += block) {
    const int64_t n = tiles.count - first < block ? tiles.count - first : block;
    parallel(a.parallel, n, 8, [&](int64_t begin, int64_t end) {
      const int64_t most = in > out ? in : out;
      const Memory<float> zeros(kPatch * most, kZeros), buffer(kPoints * most);
      for (int64_t t = begin; t < end; t++) {
        const Tiles::Place at = tiles[first + t];
        const int64_t pixel = at.sample * a.height * a.width;
        transform_input({a.x + pixel * a.in, tiles, a.in, at.y - 1, at.x - 1, zeros, buffer}, round_up(a.in, kLanes),
                        points + t * in, pitch);
        // A panel's tiles lie one after the other; its last vectors past a.out stay as they are, and nobody reads them.
        transform_tile<kPatch, gradient_to_points>({a.dy + pixel * a.out, tiles, a.out, at.y, at.x, zeros, buffer},
                                                   round_up(a.out, kLanes), dy_points + t * kWidth, dy_pitch, kWidth,
                                                   block * kWidth);
      }
    });
    parallel(a.parallel, kPoints * panels, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const int64_t p = i / panels, panel = i % panels;
        const float* from = dy_points + p * dy_pitch + panel * block * kWidth;
        for (int64_t c = 0; c < a.in; c += kRows) {
          float* to = sums + p * point_sums + panel * panel_sums + c * kWidth;
          if (first)
            multiply<COLUMNS, true>(points + p * pitch + c, 1, in, from, n, to);
          else
            multiply<COLUMNS, false>(points + p * pitch + c, 1, in, from, n, to);
        }
      }
    });
  }
  parallel(a.parallel, panels * a.in, 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t panel = i / a.in, c = i % a.in;
      unpack_weights<COLUMNS>(a, sums + panel * panel_sums + c * kWidth, point_sums, panel, c);
    }
  });
}

void convolution_weight_grad(const ConvolutionArgs& a) {
  if (a.out <= kLanes)
    differentiate<1>(a);
  else
    differentiate<2>(a);
}

}  // namespace GAN_LT_ISA
}  // namespace gan_lt
