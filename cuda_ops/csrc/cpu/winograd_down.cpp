// 3x3 convolution with stride 2 and no padding, channels_last: big images to small ones.
#include "winograd_strided.h"

namespace gan_lt {
namespace GAN_LT_ISA {

// The weights at all points for one input channel: [panels][shares.offset, length][columns]; zeros for channels past a.in.
template <int COLUMNS>
static void pack_down(const ConvolutionArgs& a, const Shares& shares, int64_t panel, int64_t in, float* out) {
  constexpr int kWidth = COLUMNS * kLanes;
  const int64_t left = in < a.in ? a.out - panel * kWidth : 0;
  float taps[9][kWidth];
  gather_taps<kWidth>(a.weight + in * a.weight_in + panel * kWidth * a.weight_out, a.weight_out, left, a.weight_y, a.weight_x, taps);
  for (int q = 0; q < COLUMNS; q++) {
    Vec g[9];
#pragma GCC unroll 9
    for (int t = 0; t < 9; t++) g[t] = load_vec(taps[t] + q * kLanes);
    each_parity([&](auto rows, auto columns) {
      Vec u[kGrid];
      taps_to_grid<rows.value, columns.value>(g, u);
      for (int i = 0; i < kGrid; i++) {
        if (i / kSide >= rows.value || i % kSide >= columns.value) continue;
        const int64_t place = shares.place(i, rows.value == kFinite, columns.value == kFinite) + in;
        store_vec(out + (panel * shares.offset[kGrid] + shares.offset[i] + place) * kWidth + q * kLanes, u[i]);
      }
    });
  }
}

template <int COLUMNS>
static void convolve_down(const ConvolutionArgs& a) {
  constexpr int kWidth = COLUMNS * kLanes;
  const Tiles tiles(a), big(2 * a.height + 1, 2 * a.width + 1);
  const Shares shares(round_up(a.in, kLanes));
  const int64_t panels = (a.out + kWidth - 1) / kWidth, all = shares.offset[kGrid];
  const Memory<float> weights(panels * all * kWidth);
  parallel(a.parallel, panels * shares.channels, 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++)
      pack_down<COLUMNS>(a, shares, i / shares.channels, i % shares.channels, weights);
  });
  const int64_t block = tiles.block(all);
  const int64_t product_pitch = block * kWidth + kLanes;
  parallel(a.parallel, (tiles.count + block - 1) / block, 1, [&](int64_t begin, int64_t end) {
    const Memory<float> points(shares.start(kGrid, block)), products(kGrid * product_pitch);
    const Memory<float> zeros(kBig * shares.channels, kZeros), buffer(kBig * kBig * shares.channels);
    for (int64_t b = begin; b < end; b++) {
      const int64_t first = b * block, n = tiles.count - first < block ? tiles.count - first : block;
      for (int64_t t = 0; t < n; t++) {
        const Tiles::Place at = tiles[first + t];
        transform_big({big_image(a.x, a, at.sample, a.in), big, a.in, 2 * at.y, 2 * at.x, zeros, buffer}, shares, points,
                      t, block);
      }
      for (int i = 0; i < kGrid; i++) clear_last_rows(points + shares.start(i, block), n, shares.length(i));
      for (int64_t panel = 0; panel < panels; panel++) {
        for (int i = 0; i < kGrid; i++) {
          const int64_t length = shares.length(i);
          const float* from = points + shares.start(i, block);
          for (int64_t t = 0; t < n; t += kRows)
            multiply<COLUMNS, false>(from + t * length, length, 1, weights + (panel * all + shares.offset[i]) * kWidth,
                                     length, products + i * product_pitch + t * kWidth);
        }
        for (int64_t t = 0; t < n; t++) {
          const Tiles::Place at = tiles[first + t];
          for (int q = 0; q < COLUMNS; q++) {
            const int64_t k = panel * kWidth + q * kLanes, left = a.out - k;
            if (left <= 0) break;
            Vec m[kSide], half[kTile * kSide], y[kTile];
            for (int j = 0; j < kSide; j++) {
#pragma GCC unroll 5
              for (int i = 0; i < kSide; i++)
                m[i] = load_vec(products + (i * kSide + j) * product_pitch + t * kWidth + q * kLanes);
              strided_to_outputs(m, 1, half + j, kSide);
            }
            for (int i = 0; i < kTile && at.y + i < a.height; i++) {
              strided_to_outputs(half + i * kSide, 1, y, 1);
              float* row = a.y + ((at.sample * a.height + at.y + i) * a.width + at.x) * a.out + k;
              for (int j = 0; j < kTile && at.x + j < a.width; j++) store_lanes(row + j * a.out, y[j], left);
            }
          }
        }
      }
    }
  });
}

void convolution_down(const ConvolutionArgs& a) {
  if (a.out <= kLanes)
    convolve_down<1>(a);
  else
    convolve_down<2>(a);
}

}  // namespace GAN_LT_ISA
}  // namespace gan_lt
