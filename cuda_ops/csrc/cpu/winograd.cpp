// 3x3 convolution of channels_last images with as much padding as keeps their size.
#include "winograd.h"

namespace gan_lt {
namespace GAN_LT_ISA {

// The weights at all points, packed for products: [panels, kPoints, in, columns], a panel being COLUMNS vectors of output
// channels; zeros past the last channel.
template <int COLUMNS>
static void pack_weights(const ConvolutionArgs& a, int64_t panel, int64_t in, float* out) {
  constexpr int kWidth = COLUMNS * kLanes;
  // The transposed convolution exchanges the channels and turns the kernel around.
  const int64_t in_stride = a.transposed ? a.weight_out : a.weight_in;
  const int64_t out_stride = a.transposed ? a.weight_in : a.weight_out;
  const float* weight = a.weight + in * in_stride + panel * kWidth * out_stride;
  const int64_t last = a.transposed ? 2 * (a.weight_y + a.weight_x) : 0, sign = a.transposed ? -1 : 1;
  float taps[9][kWidth];
  gather_taps<kWidth>(weight + last, out_stride, a.out - panel * kWidth, sign * a.weight_y, sign * a.weight_x, taps);
  for (int q = 0; q < COLUMNS; q++) {
    Vec g[9], half[3 * kPatch], u[kPatch];
#pragma GCC unroll 9
    for (int t = 0; t < 9; t++) g[t] = load_vec(taps[t] + q * kLanes);
#pragma GCC unroll 3
    for (int j = 0; j < 3; j++) weights_to_points(g + j, 3, half + j, 3);
#pragma GCC unroll 6
    for (int i = 0; i < kPatch; i++) {
      weights_to_points(half + i * 3, 1, u, 1);
#pragma GCC unroll 6
      for (int j = 0; j < kPatch; j++)
        store_vec(out + ((panel * kPoints + i * kPatch + j) * a.in + in) * kWidth + q * kLanes, u[j]);
    }
  }
}

// A^T m A of one tile: points m[p * pitch] to at most 4x4 pixels of y, the first `count` channels of a vector.
static inline void transform_output(const float* m, int64_t pitch, float* y, int64_t column, int64_t line, int64_t rows,
                                    int64_t columns, int64_t count) {
  Vec points[kPatch], half[kTile * kPatch], out[kTile];
  for (int j = 0; j < kPatch; j++) {
#pragma GCC unroll 6
    for (int i = 0; i < kPatch; i++) points[i] = load_vec(m + (i * kPatch + j) * pitch);
    to_outputs(points, 1, half + j, kPatch);
  }
  for (int i = 0; i < kTile && i < rows; i++) {
    to_outputs(half + i * kPatch, 1, out, 1);
    for (int j = 0; j < kTile && j < columns; j++) store_lanes(y + i * line + j * column, out[j], count);
  }
}

template <int COLUMNS>
static void convolve(const ConvolutionArgs& a) {
  constexpr int kWidth = COLUMNS * kLanes;
  const Tiles tiles(a);
  const int64_t panels = (a.out + kWidth - 1) / kWidth, in = round_up(a.in, kLanes);
  const Memory<float> weights(panels * kPoints * a.in * kWidth);
  parallel(a.parallel, panels * a.in, 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) pack_weights<COLUMNS>(a, i / a.in, i % a.in, weights);
  });
  const int64_t block = tiles.block(kPoints * in);
  const int64_t pitch = block * in + kLanes, product_pitch = block * kWidth + kLanes;  // not all points in one set
  parallel(a.parallel, (tiles.count + block - 1) / block, 1, [&](int64_t begin, int64_t end) {
    const Memory<float> points(kPoints * pitch, kZeros), products(kPoints * product_pitch);
    const Memory<float> zeros(in, kZeros), buffer(kPoints * in);
    for (int64_t b = begin; b < end; b++) {
      const int64_t first = b * block, n = tiles.count - first < block ? tiles.count - first : block;
      for (int64_t t = 0; t < n; t++) {
        const Tiles::Place at = tiles[first + t];
        const float* image = a.x + at.sample * a.height * a.width * a.in;
        transform_input({image, tiles, a.in, at.y - 1, at.x - 1, zeros, buffer}, in, points + t * in, pitch);
      }
      for (int64_t panel = 0; panel < panels; panel++) {
        for (int64_t p = 0; p < kPoints; p++)
          for (int64_t t = 0; t < n; t += kRows)
            multiply<COLUMNS, false>(points + p * pitch + t * in, in, 1,
                                     weights + (panel * kPoints + p) * a.in * kWidth, a.in,
                                     products + p * product_pitch + t * kWidth);
        for (int64_t t = 0; t < n; t++) {
          const Tiles::Place at = tiles[first + t];
          for (int q = 0; q < COLUMNS; q++) {
            const int64_t k = panel * kWidth + q * kLanes, left = a.out - k;
            if (left <= 0) break;
            float* y = a.y + ((at.sample * a.height + at.y) * a.width + at.x) * a.out + k;
            transform_output(products + t * kWidth + q * kLanes, product_pitch, y, a.out, a.width * a.out,
                             a.height - at.y, a.width - at.x, left);
          }
        }
      }
    }
  });
}

void convolution(const ConvolutionArgs& a) {
  if (a.out <= kLanes)
    convolve<1>(a);
  else
    convolve<2>(a);
}

}  // namespace GAN_LT_ISA
}  // namespace gan_lt
