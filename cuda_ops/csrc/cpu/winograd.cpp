// 3x3 convolution of channels_last images with as much padding as keeps their size.
#include "winograd.h"

namespace gan_lt {
namespace GAN_LT_ISA {

// The weights at all points, packed for products: [panels, kPoints, words along in, columns], a panel being COLUMNS vectors of
// output channels; zeros past the last channel. `word` counts words along the input channels.
template <int COLUMNS, typename T>
static void pack_weights(const ConvolutionArgs& a, int64_t panel, int64_t word, int64_t words, Word<T>* out) {
  constexpr int kWidth = COLUMNS * kLanes, kGroup = kPerWord<T>;
  // The transposed convolution exchanges the channels and turns the kernel around.
  const int64_t in_stride = a.transposed ? a.weight_out : a.weight_in;
  const int64_t out_stride = a.transposed ? a.weight_in : a.weight_out;
  const int64_t last = a.transposed ? 2 * (a.weight_y + a.weight_x) : 0, sign = a.transposed ? -1 : 1;
  float taps[kGroup][9][kWidth];
  for (int i = 0; i < kGroup; i++) {
    const int64_t in = word * kGroup + i;
    const T* weight = static_cast<const T*>(a.weight) + in * in_stride + panel * kWidth * out_stride;
    gather_taps<kWidth>(weight + last, out_stride, in < a.in ? a.out - panel * kWidth : 0, sign * a.weight_y,
                        sign * a.weight_x, taps[i]);
  }
  for (int q = 0; q < COLUMNS; q++) {
    Vec g[9], half[kGroup][3 * kPatch], u[kPatch][kGroup];
    for (int i = 0; i < kGroup; i++) {
#pragma GCC unroll 9
      for (int t = 0; t < 9; t++) g[t] = load_vec(taps[i][t] + q * kLanes);
#pragma GCC unroll 3
      for (int j = 0; j < 3; j++) weights_to_points(g + j, 3, half[i] + j, 3);
    }
#pragma GCC unroll 6
    for (int y = 0; y < kPatch; y++) {
#pragma GCC unroll 2
      for (int i = 0; i < kGroup; i++) weights_to_points(half[i] + y * 3, 1, u[0] + i, kGroup);
#pragma GCC unroll 6
      for (int x = 0; x < kPatch; x++)
        store_words(out + ((panel * kPoints + y * kPatch + x) * words + word) * kWidth + q * kLanes, u[x]);
    }
  }
}

// What follows a convolution, for `n` pixels of a row from `at` on in y; `count` of each vector's channels are there.
template <typename T>
static inline void finish(const ConvolutionArgs& a, Vec* v, int n, int64_t at, int64_t channel, int64_t count) {
  const Vec zero = {};
  if (a.bias) {
    const Vec bias = load_lanes(a.bias + channel, count);
#pragma GCC unroll 4
    for (int j = 0; j < n; j++) v[j] += bias;
  }
  if (a.shortcut)
#pragma GCC unroll 4
    for (int j = 0; j < n; j++) v[j] += load_lanes(static_cast<const T*>(a.shortcut) + at + j * a.out, count);
  if (a.mask)
#pragma GCC unroll 4
    for (int j = 0; j < n; j++) v[j] = load_lanes(static_cast<const T*>(a.mask) + at + j * a.out, count) <= zero ? zero : v[j];
  if (a.relu)
#pragma GCC unroll 4
    for (int j = 0; j < n; j++) v[j] = v[j] < zero ? zero : v[j];  // keeps NaN
}

// A^T m A of one tile: points m[p * pitch] to at most 4x4 pixels of y, the channels from `channel` on of one vector.
template <typename T>
static inline void transform_output(const float* m, int64_t pitch, const ConvolutionArgs& a, const Tiles::Place& place,
                                    int64_t channel) {
  Vec points[kPatch], half[kTile * kPatch], out[kTile];
  for (int j = 0; j < kPatch; j++) {
#pragma GCC unroll 6
    for (int i = 0; i < kPatch; i++) points[i] = load_vec(m + (i * kPatch + j) * pitch);
    to_outputs(points, 1, half + j, kPatch);
  }
  const int64_t line = a.width * a.out, count = a.out - channel;
  const int64_t rows = a.height - place.y, columns = a.width - place.x;
  T* y = static_cast<T*>(a.y);
  int64_t at = ((place.sample * a.height + place.y) * a.width + place.x) * a.out + channel;
  for (int i = 0; i < kTile && i < rows; i++, at += line) {
    to_outputs(half + i * kPatch, 1, out, 1);
    if (columns >= kTile && count >= kLanes) {  // the compiler knows how many
      finish<T>(a, out, kTile, at, channel, kLanes);
#pragma GCC unroll 4
      for (int j = 0; j < kTile; j++) store_vec(y + at + j * a.out, out[j]);
    } else {
      const int n = columns < kTile ? int(columns) : kTile;
      finish<T>(a, out, n, at, channel, count);
      for (int j = 0; j < n; j++) store_lanes(y + at + j * a.out, out[j], count);
    }
  }
}

template <int COLUMNS, typename T>
static void convolve(const ConvolutionArgs& a) {
  constexpr int kWidth = COLUMNS * kLanes, kGroup = kPerWord<T>;
  const Tiles tiles(a);
  const int64_t panels = (a.out + kWidth - 1) / kWidth, in = round_up(a.in, kLanes);
  const int64_t words = (a.in + kGroup - 1) / kGroup, row = in / kGroup;
  const Memory<Word<T>> weights(panels * kPoints * words * kWidth);
  parallel(a.parallel, panels * words, 64, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; i++) pack_weights<COLUMNS, T>(a, i / words, i % words, words, weights);
  });
  const int64_t block = tiles.block(kPoints * in);
  const int64_t pitch = block * in + kLanes, product_pitch = block * kWidth + kLanes;  // not all points in one set
  parallel(a.parallel, (tiles.count + block - 1) / block, 1, [&](int64_t begin, int64_t end) {
    const Memory<T> points(kPoints * pitch), zeros(kPatch * in, kZeros), buffer(kPoints * in);
    const Memory<float> products(kPoints * product_pitch);
    for (int64_t b = begin; b < end; b++) {
      const int64_t first = b * block, n = tiles.count - first < block ? tiles.count - first : block;
      for (int64_t t = 0; t < n; t++) {
        const Tiles::Place at = tiles[first + t];
        const T* image = static_cast<const T*>(a.x) + at.sample * a.height * a.width * a.in;
        const Patch<kPatch, T> patch(image, tiles, a.in, at.y - 1, at.x - 1, zeros, buffer);
        transform_input<1>(&patch, in, points + t * in, pitch);
      }
      for (int p = 0; p < kPoints; p++) clear_last_rows(points + p * pitch, n, in);
      for (int64_t panel = 0; panel < panels; panel++) {
        for (int64_t p = 0; p < kPoints; p++)
          for (int64_t t = 0; t < n; t += kRows)
            multiply<COLUMNS, false>(as_words(points + p * pitch + t * in), row, 1,
                                     weights + (panel * kPoints + p) * words * kWidth, words,
                                     products + p * product_pitch + t * kWidth);
        for (int64_t t = 0; t < n; t++) {
          const Tiles::Place at = tiles[first + t];
          for (int q = 0; q < COLUMNS && panel * kWidth + q * kLanes < a.out; q++)
            transform_output<T>(products + t * kWidth + q * kLanes, product_pitch, a, at, panel * kWidth + q * kLanes);
        }
      }
    }
  });
}

void convolution(const ConvolutionArgs& a) {
  with_image_type(a.dtype, [&](auto* type) {
    using T = std::remove_pointer_t<decltype(type)>;
    a.out <= kLanes ? convolve<1, T>(a) : convolve<2, T>(a);
  });
}

bool convolution_in_bfloat16() {
#if defined(GAN_LT_BFLOAT16)
  return true;
#else
  return false;
#endif
}

}  // namespace GAN_LT_ISA
}  // namespace gan_lt
