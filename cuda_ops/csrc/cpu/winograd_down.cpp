// 3x3 convolution with stride 2 and no padding, channels_last: big images to small ones.
#include "winograd_strided.h"

namespace gan_lt {
namespace GAN_LT_ISA {

// The weights at all points for one word of input channels: [panels][words of shares.offset, length][columns]; zeros for
// channels past a.in.
template <int COLUMNS, typename T>
static void pack_down(const ConvolutionArgs& a, const Shares& shares, int64_t panel, int64_t word, Word<T>* out) {
  constexpr int kWidth = COLUMNS * kLanes, kGroup = kPerWord<T>;
  float taps[kGroup][9][kWidth];
  for (int n = 0; n < kGroup; n++) {
    const int64_t in = word * kGroup + n, left = in < a.in ? a.out - panel * kWidth : 0;
    const T* weight = static_cast<const T*>(a.weight) + in * a.weight_in + panel * kWidth * a.weight_out;
    gather_taps<kWidth>(weight, a.weight_out, left, a.weight_y, a.weight_x, taps[n]);
  }
  for (int q = 0; q < COLUMNS; q++) {
    Vec g[kGroup][9];
    for (int n = 0; n < kGroup; n++)
#pragma GCC unroll 9
      for (int t = 0; t < 9; t++) g[n][t] = load_vec(taps[n][t] + q * kLanes);
    each_parity([&](auto rows, auto columns) {
      Vec u[kGroup][kGrid];
      for (int n = 0; n < kGroup; n++) taps_to_grid<rows.value, columns.value>(g[n], u[n]);
      for (int i = 0; i < kGrid; i++) {
        if (i / kSide >= rows.value || i % kSide >= columns.value) continue;
        const int64_t place = shares.place(i, rows.value == kFinite, columns.value == kFinite) / kGroup + word;
        const Vec both[2] = {u[0][i], u[kGroup - 1][i]};
        store_words(out + ((panel * shares.offset[kGrid] + shares.offset[i]) / kGroup + place) * kWidth + q * kLanes, both);
      }
    });
  }
}

template <int COLUMNS, typename T>
static void convolve_down(const ConvolutionArgs& a) {
  constexpr int kWidth = COLUMNS * kLanes, kGroup = kPerWord<T>;
  const Tiles tiles(a), big(2 * a.height + 1, 2 * a.width + 1);
  const Shares shares(round_up(a.in, kLanes));
  const int64_t panels = (a.out + kWidth - 1) / kWidth, all = shares.offset[kGrid];
  const int64_t words = shares.channels / kGroup, panel_words = all / kGroup;
  const Memory<Word<T>> weights(panels * panel_words * kWidth);
  parallel(a.parallel, panels * words, 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) pack_down<COLUMNS, T>(a, shares, i / words, i % words, weights);
  });
  const int64_t block = tiles.block(all);
  const int64_t product_pitch = block * kWidth + kLanes;
  parallel(a.parallel, (tiles.count + block - 1) / block, 1, [&](int64_t begin, int64_t end) {
    const Memory<T> points(shares.start(kGrid, block)), zeros(kBig * shares.channels, kZeros);
    const Memory<T> buffer(kBig * kBig * shares.channels);
    const Memory<float> products(kGrid * product_pitch);
    for (int64_t b = begin; b < end; b++) {
      const int64_t first = b * block, n = tiles.count - first < block ? tiles.count - first : block;
      for (int64_t t = 0; t < n; t++) {
        const Tiles::Place at = tiles[first + t];
        const Patch<kBig, T> patch(big_image<T>(a.x, a, at.sample, a.in), big, a.in, 2 * at.y, 2 * at.x, zeros, buffer);
        transform_big<1>(&patch, shares, points.get(), t, block);
      }
      for (int i = 0; i < kGrid; i++) clear_last_rows(points + shares.start(i, block), n, shares.length(i));
      for (int64_t panel = 0; panel < panels; panel++) {
        for (int i = 0; i < kGrid; i++) {
          const int64_t length = shares.length(i);
          const T* from = points + shares.start(i, block);
          const Word<T>* panel_weights = weights + (panel * panel_words + shares.offset[i] / kGroup) * kWidth;
          for (int64_t t = 0; t < n; t += kRows)
            multiply<COLUMNS, false>(as_words(from + t * length), length / kGroup, 1, panel_weights, length / kGroup,
                                     products + i * product_pitch + t * kWidth);
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
              T* row = static_cast<T*>(a.y) + ((at.sample * a.height + at.y + i) * a.width + at.x) * a.out + k;
              for (int j = 0; j < kTile && at.x + j < a.width; j++) store_lanes(row + j * a.out, y[j], left);
            }
          }
        }
      }
    }
  });
}

void convolution_down(const ConvolutionArgs& a) {
  with_image_type(a.dtype, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    a.out <= kLanes ? convolve_down<1, T>(a) : convolve_down<2, T>(a);
  });
}

}  // namespace GAN_LT_ISA
}  // namespace gan_lt
