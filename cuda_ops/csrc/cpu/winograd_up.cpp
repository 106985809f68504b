// Transposed 3x3 convolution with stride 2 and no padding, channels_last: small images to big ones.
#include "winograd_strided.h"

namespace gan_lt {
namespace GAN_LT_ISA {

// The weights of one parity at all its points for one word of input channels: [panels, kGrid, words, columns].
template <int ROWS, int COLUMN_POINTS, int COLUMNS, typename T>
static void pack_up(const ConvolutionArgs& a, int64_t panel, int64_t word, int64_t words, Word<T>* out) {
  constexpr int kWidth = COLUMNS * kLanes, kGroup = kPerWord<T>;
  float taps[kGroup][9][kWidth];
  for (int n = 0; n < kGroup; n++) {  // inputs are the weight's first dimension, outputs its second
    const int64_t in = word * kGroup + n, left = in < a.in ? a.out - panel * kWidth : 0;
    const T* weight = static_cast<const T*>(a.weight) + in * a.weight_out + panel * kWidth * a.weight_in;
    gather_taps<kWidth>(weight, a.weight_in, left, a.weight_y, a.weight_x, taps[n]);
  }
  for (int q = 0; q < COLUMNS; q++) {
    Vec g[9], u[kGroup][kGrid];
    for (int n = 0; n < kGroup; n++) {
#pragma GCC unroll 9
      for (int t = 0; t < 9; t++) g[t] = load_vec(taps[n][t] + q * kLanes);
      taps_to_grid<ROWS, COLUMN_POINTS>(g, u[n]);
    }
    for (int i = 0; i < ROWS; i++)
      for (int j = 0; j < COLUMN_POINTS; j++) {
        const Vec both[2] = {u[0][i * kSide + j], u[kGroup - 1][i * kSide + j]};
        store_words(out + ((panel * kGrid + i * kSide + j) * words + word) * kWidth + q * kLanes, both);
      }
  }
}

// B m B^T of one tile and parity to its pixels of the big image. Tiles share their first and last even pixels: these are
// added where a tile above or to the left has been before.
template <int ROWS, int COLUMN_POINTS, typename T>
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
    T* row = static_cast<T*>(a.y) + ((at.sample * height + top + 2 * i) * width + left) * a.out + k;
    const bool again = ROWS == kSide && i == 0 && at.y > 0;
    for (int j = 0; j < COLUMN_POINTS && left + 2 * j < width; j++) {
      T* to = row + 2 * j * a.out;
      if (again || (COLUMN_POINTS == kSide && j == 0 && at.x > 0)) d[j] += load_lanes(to, a.out - k);
      store_lanes(to, d[j], a.out - k);
    }
  }
}

template <int COLUMNS, typename T>
static void convolve_up(const ConvolutionArgs& a) {
  constexpr int kWidth = COLUMNS * kLanes, kGroup = kPerWord<T>;
  const Tiles tiles(a);
  const int64_t panels = (a.out + kWidth - 1) / kWidth, in = round_up(a.in, kLanes);
  const int64_t words = (a.in + kGroup - 1) / kGroup, parity_weights = panels * kGrid * words * kWidth;
  const Memory<Word<T>> weights(4 * parity_weights);
  parallel(a.parallel, panels * words, 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) {
      Word<T>* to = weights;
      each_parity([&](auto rows, auto columns) {
        pack_up<rows.value, columns.value, COLUMNS, T>(a, i / words, i % words, words, to);
        to += parity_weights;
      });
    }
  });
  const int64_t block = tiles.block(kGrid * in), each = tiles.down * tiles.across;
  const int64_t pitch = block * in + kLanes, product_pitch = block * kWidth + kLanes;
  // A sample's tiles overlap, so one thread goes through them in order.
  parallel(a.parallel, a.samples, (block + each - 1) / each, [&](int64_t begin, int64_t end) {
    const Memory<T> points(kGrid * pitch), zeros(kTile * in, kZeros), buffer(kTile * kTile * in);
    const Memory<float> products(kGrid * product_pitch);
    for (int64_t first = begin * each; first < end * each; first += block) {
      const int64_t n = end * each - first < block ? end * each - first : block;
      for (int64_t t = 0; t < n; t++) {
        const Tiles::Place at = tiles[first + t];
        const T* image = static_cast<const T*>(a.x) + at.sample * a.height * a.width * a.in;
        const Patch<kTile, T> patch(image, tiles, a.in, at.y, at.x, zeros, buffer);
        transform_tile<kSide, outputs_to_points, 1>(&patch, in, points + t * in, pitch, in, 0);
      }
      for (int i = 0; i < kGrid; i++) clear_last_rows(points + i * pitch, n, in);
      const Word<T>* parity = weights;
      each_parity([&](auto rows, auto columns) {
        for (int64_t panel = 0; panel < panels; panel++) {
          for (int i = 0; i < kGrid; i++) {
            if (i / kSide >= rows.value || i % kSide >= columns.value) continue;
            for (int64_t t = 0; t < n; t += kRows)
              multiply<COLUMNS, false>(as_words(points + i * pitch + t * in), in / kGroup, 1,
                                       parity + (panel * kGrid + i) * words * kWidth, words,
                                       products + i * product_pitch + t * kWidth);
          }
          for (int64_t t = 0; t < n; t++)
            for (int q = 0; q < COLUMNS && panel * kWidth + q * kLanes < a.out; q++)
              transform_up<rows.value, columns.value, T>(products + t * kWidth + q * kLanes, product_pitch, a,
                                                         tiles[first + t], panel * kWidth + q * kLanes);
        }
        parity += parity_weights;
      });
    }
  });
}

void convolution_up(const ConvolutionArgs& a) {
  with_image_type(a.dtype, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    a.out <= kLanes ? convolve_up<1, T>(a) : convolve_up<2, T>(a);
  });
}

}  // namespace GAN_LT_ISA
}  // namespace gan_lt
