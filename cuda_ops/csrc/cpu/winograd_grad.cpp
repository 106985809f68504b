// The weight gradient of a 3x3 convolution of channels_last images.
#include "winograd.h"

namespace gan_lt {
namespace GAN_LT_ISA {

// G^T p G for one input channel and one panel of output channels: points [kPoints, pitch] to weight gradients [out, 9, in].
template <int COLUMNS, typename T>
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
      for (int t = 0; t < 9; t++) write(static_cast<T*>(a.d_weight) + (k * 9 + t) * a.in + in, g[t][k - first]);
  }
}

template <int COLUMNS, typename T>
static void differentiate(const ConvolutionArgs& a) {
  constexpr int kWidth = COLUMNS * kLanes, kGroup = kPerWord<T>;
  const Tiles tiles(a);
  const int64_t panels = (a.out + kWidth - 1) / kWidth;
  const int64_t in = round_up(round_up(a.in, kLanes), kRows), out = panels * kWidth;
  // Sums over tiles stand at each point: [kPoints, panels, in, width]. Blocks of tiles go through two passes: their points
  // are found tile by tile, and multiplied point by point, so that no sum has two writers and threads change no result.
  const int64_t block = tiles.gradient_block(kPoints * (in + out)), words = (block + kGroup - 1) / kGroup;
  const int64_t pitch = words * in + kLanes, dy_pitch = words * out + kLanes;
  const int64_t panel_sums = in * kWidth, point_sums = panels * panel_sums + kLanes;
  const Memory<Word<T>> points(kPoints * pitch, kZeros), dy_points(kPoints * dy_pitch);
  const Memory<float> sums(kPoints * point_sums);
  for (int64_t first = 0; first < tiles.count; first += block) {
    const int64_t n = tiles.count - first < block ? tiles.count - first : block, n_words = (n + kGroup - 1) / kGroup;
    parallel(a.parallel, n_words, 8 / kGroup, [&](int64_t begin, int64_t end) {
      const int64_t most = in > out ? in : out;
      const Memory<T> zeros(kPatch * most, kZeros), buffer(kGroup * kPoints * most);
      const auto input = [&](int64_t t) {
        if (t >= n) return Patch<kPatch, T>(zeros);
        const Tiles::Place at = tiles[first + t];
        const T* image = static_cast<const T*>(a.x) + at.sample * a.height * a.width * a.in;
        return Patch<kPatch, T>(image, tiles, a.in, at.y - 1, at.x - 1, zeros, buffer + t % kGroup * kPoints * most);
      };
      const auto gradient = [&](int64_t t) {
        if (t >= n) return Patch<kTile, T>(zeros);
        const Tiles::Place at = tiles[first + t];
        const T* image = static_cast<const T*>(a.dy) + at.sample * a.height * a.width * a.out;
        return Patch<kTile, T>(image, tiles, a.out, at.y, at.x, zeros, buffer + t % kGroup * kPoints * most);
      };
      for (int64_t word = begin; word < end; word++) {
        const int64_t t = word * kGroup;
        transform_input<kGroup>(patches_of<kGroup>(input, t).data(), round_up(a.in, kLanes), points + word * in, pitch);
        // A panel's tiles lie one after the other; its last vectors past a.out stay as they are, and nobody reads them.
        transform_tile<kPatch, gradient_to_points, kGroup>(patches_of<kGroup>(gradient, t).data(), round_up(a.out, kLanes),
                                                           dy_points + word * kWidth, dy_pitch, kWidth, words * kWidth);
      }
    });
    parallel(a.parallel, kPoints * panels, 1, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; i++) {
        const int64_t p = i / panels, panel = i % panels;
        const Word<T>* from = dy_points + p * dy_pitch + panel * words * kWidth;
        for (int64_t c = 0; c < a.in; c += kRows) {
          float* to = sums + p * point_sums + panel * panel_sums + c * kWidth;
          const Word<T>* rows = points + p * pitch + c;
          if (first)
            multiply<COLUMNS, true>(rows, 1, in, from, n_words, to);
          else
            multiply<COLUMNS, false>(rows, 1, in, from, n_words, to);
        }
      }
    });
  }
  parallel(a.parallel, panels * a.in, 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      const int64_t panel = i / a.in, c = i % a.in;
      unpack_weights<COLUMNS, T>(a, sums + panel * panel_sums + c * kWidth, point_sums, panel, c);
    }
  });
}

void convolution_weight_grad(const ConvolutionArgs& a) {
  with_image_type(a.dtype, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    a.out <= kLanes ? differentiate<1, T>(a) : differentiate<2, T>(a);
  });
}

}  // namespace GAN_LT_ISA
}  // namespace gan_lt
