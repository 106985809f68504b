// Transposed 3x3 convolution with stride 2 and no padding, channels_last: small images to big ones.
#include "winograd_strided.h"

namespace gan_lt {
namespace GAN_LT_ISA {

// The weights of one parity at all its points for one input channel: [panels, kGrid, in, columns].
template <int ROWS, int COLUMN_POINTS, int COLUMNS>
static void pack_up(const ConvolutionArgs& a, int64_t panel, int64_t in, float* out) {
  constexpr int kWidth = COLUMNS * kLanes;
  float taps[9][kWidth];
  // Inputs are the weight's first dimension, outputs its second.
  gather_taps<kWidth>(a.weight + in * a.weight_out + panel * kWidth * a.weight_in, a.weight_in, a.out - panel * kWidth,
                      a.weight_y, a.weight_x, taps);
  for (int q = 0; q < COLUMNS; q++) {
    Vec g[9], u[kGrid];
#pragma GCC unroll 9
    for (int t = 0; t < 9; t++) g[t] = load_vec(taps[t] + q * kLanes);
    taps_to_grid<ROWS, COLUMN_POINTS>(g, u);
    for (int i = 0; i < ROWS; i++)
      for (int j = 0; j < COLUMN_POINTS; j++)
        store_vec(out + ((panel * kGrid + i * kSide + j) * a.in + in) * kWidth + q * kLanes, u[i * kSide + j]);
  }
}

// B m B^T of one tile and parity to its pixels of the big image. Tiles share their first and last even pixels: these are
// added where a tile above or to the left has been before.
template <int ROWS, int COLUMN_POINTS>
static inline void transform_up(const float* m, int64_t pitch, const ConvolutionArgs& a, const Tiles::Place& at, int64_t k) {
  Vec points[kSide], half[kSide * kSide], d[kSide];
  for (int j = 0; j < COLUMN_POINTS; j++) {
#pragma GCC unroll 5
    for (int i = 0; i < ROWS; i++) points[i] = load_vec(m + (i * kSide + j) * pitch);
    points_to_pixels<ROWS>(points, 1, half + j, kSide);
  }
  const int64_t height = 2 * a.height + 1, width = 2 * a.width + 1;
  const int64_t top = 2 * at.y + (ROWS == kFinite), left = 2 * at.x + (COLUMN_POINTS == kFinite);
  for (int i = 0; i < ROWS && top + 2 * i < height; i++) {
    points_to_pixels<COLUMN_POINTS>(half + i * kSide, 1, d, 1);
    float* row = a.y + ((at.sample * height + top + 2 * i) * width + left) * a.out + k;
    const bool again = ROWS == kSide && i == 0 && at.y > 0;
    for (int j = 0; j < COLUMN_POINTS && left + 2 * j < width; j++) {
      float* to = row + 2 * j * a.out;
      if (again || (COLUMN_POINTS == kSide && j == 0 && at.x > 0)) {
        d[j] += load_lanes(to, a.out - k);
      }
      store_lanes(to, d[j], a.out - k);
    }
  }
}

template <int COLUMNS>
static void convolve_up(const ConvolutionArgs& a) {
  constexpr int kWidth = COLUMNS * kLanes;
  const Tiles tiles(a);
  const int64_t panels = (a.out + kWidth - 1) / kWidth, in = round_up(a.in, kLanes);
  const int64_t parity_weights = panels * kGrid * a.in * kWidth;
  const Memory<float> weights(4 * parity_weights);
  parallel(a.parallel, panels * a.in, 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      float* to = weights;
      each_parity([&](auto rows, auto columns) {
        pack_up<rows.value, columns.value, COLUMNS>(a, i / a.in, i % a.in, to);
        to += parity_weights;
      });
    }
  });
  const int64_t block = tiles.block(kGrid * in), each = tiles.down * tiles.across;
  const int64_t pitch = block * in + kLanes, product_pitch = block * kWidth + kLanes;
  // A sample's tiles overlap, so one thread goes through them in order.
  parallel(a.parallel, a.samples, (block + each - 1) / each, [&](int64_t begin, int64_t end) {
    const Memory<float> points(kGrid * pitch), products(kGrid * product_pitch);
    const Memory<float> zeros(kTile * in, kZeros), buffer(kTile * kTile * in);
    for (int64_t first = begin * each; first < end * each; first += block) {
      const int64_t n = end * each - first < block ? end * each - first : block;
      for (int64_t t = 0; t < n; t++) {
        const Tiles::Place at = tiles[first + t];
        const float* image = a.x + at.sample * a.height * a.width * a.in;
        transform_tile<kSide, outputs_to_points>({image, tiles, a.in, at.y, at.x, zeros, buffer}, in, points + t * in,
                                                 pitch, in, 0);
      }
      for (int i = 0; i < kGrid; i++) clear_last_rows(points + i * pitch, n, in);
      const float* parity = weights;
      each_parity([&](auto rows, auto columns) {
        for (int64_t panel = 0; panel < panels; panel++) {
          for (int i = 0; i < kGrid; i++) {
            if (i / kSide >= rows.value || i % kSide >= columns.value) continue;
            for (int64_t t = 0; t < n; t += kRows)
              multiply<COLUMNS, false>(points + i * pitch + t * in, in, 1, parity + (panel * kGrid + i) * a.in * kWidth,
                                       a.in, products + i * product_pitch + t * kWidth);
          }
          for (int64_t t = 0; t < n; t++)
            for (int q = 0; q < COLUMNS && panel * kWidth + q * kLanes < a.out; q++)
              transform_up<rows.value, columns.value>(products + t * kWidth + q * kLanes, product_pitch, a,
                                                      tiles[first + t], panel * kWidth + q * kLanes);
        }
        parity += parity_weights;
      });
    }
  });
}

void convolution_up(const ConvolutionArgs& a) {
  if (a.out <= kLanes)
    convolve_up<1>(a);
  else
    convolve_up<2>(a);
}

}  // namespace GAN_LT_ISA
}  // namespace gan_lt
