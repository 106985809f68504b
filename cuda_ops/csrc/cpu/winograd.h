// Winograd's minimal filtering F(4x4, 3x3) (Winograd, 1980; Lavin and Gray, CVPR 2016): tiles of 4x4 outputs from 6x6 inputs
// with 36 instead of 144 multiplications a pair of channels. Evaluated at 0, +-a, +-b and infinity with a = 1/sqrt(2) and
// b = sqrt(2): against the usual 1 and 2 the rounding error falls by half in the mean and to a fifth at worst.
//
//   output  Y  = A^T [(G g G^T) (B^T d B)] A         d: 6x6 inputs, g: 3x3 weights
//   weights dg = G^T [(A dY A^T) (B^T d B)] G        the transposed algorithm: gradients need no other points
#pragma once

#include <array>

#include "vectors.h"

namespace gan_lt {
namespace GAN_LT_ISA {

static constexpr int kTile = 4, kPatch = 6, kPoints = kPatch * kPatch;

// Values at all points that a block of tiles holds, in a thread's second-level cache, or for gradients in the shared one
// (measured), and the fewest tiles for which reading the weights again pays.
static constexpr int64_t kBlockValues = 24 * 1024, kGradientBlockValues = 512 * 1024, kFewestTiles = 24;

static constexpr float kA = 0.70710678118654752f, kB = 1.41421356237309505f;

// B^T d: six inputs to six points.
static inline void to_points(const Vec* d, int step, Vec* v, int out) {
  const Vec &d0 = d[0], &d1 = d[step], &d2 = d[2 * step], &d3 = d[3 * step], &d4 = d[4 * step], &d5 = d[5 * step];
  const Vec even_a = d4 - 2.f * d2, odd_a = kA * (d3 - 2.f * d1);
  const Vec even_b = d4 - .5f * d2, odd_b = kB * (d3 - .5f * d1);
  v[0] = d0 + d4 - 2.5f * d2;
  v[out] = even_a + odd_a;
  v[2 * out] = even_a - odd_a;
  v[3 * out] = even_b + odd_b;
  v[4 * out] = even_b - odd_b;
  v[5 * out] = d1 + d5 - 2.5f * d3;
}

// A^T m: six points to four outputs.
static inline void to_outputs(const Vec* m, int step, Vec* y, int out) {
  const Vec sum_a = m[step] + m[2 * step], less_a = m[step] - m[2 * step];
  const Vec sum_b = m[3 * step] + m[4 * step], less_b = m[3 * step] - m[4 * step];
  y[0] = m[0] + sum_a + sum_b;
  y[out] = kA * less_a + kB * less_b;
  y[2 * out] = .5f * sum_a + 2.f * sum_b;
  y[3 * out] = (.5f * kA) * less_a + (2.f * kB) * less_b + m[5 * step];
}

// A y: four output gradients to six points.
static inline void gradient_to_points(const Vec* y, int step, Vec* v, int out) {
  const Vec &y0 = y[0], &y1 = y[step], &y2 = y[2 * step], &y3 = y[3 * step];
  const Vec even_a = y0 + .5f * y2, odd_a = kA * (y1 + .5f * y3);
  const Vec even_b = y0 + 2.f * y2, odd_b = kB * (y1 + 2.f * y3);
  v[0] = y0;
  v[out] = even_a + odd_a;
  v[2 * out] = even_a - odd_a;
  v[3 * out] = even_b + odd_b;
  v[4 * out] = even_b - odd_b;
  v[5 * out] = y3;
}

// G g: three weights to six points.
static inline void weights_to_points(const Vec* g, int step, Vec* v, int out) {
  const Vec even_a = (-2.f / 3) * g[0] - (1.f / 3) * g[2 * step], odd_a = (-2.f / 3 * kA) * g[step];
  const Vec even_b = (1.f / 6) * g[0] + (1.f / 3) * g[2 * step], odd_b = (1.f / 6 * kB) * g[step];
  v[0] = g[0];
  v[out] = even_a + odd_a;
  v[2 * out] = even_a - odd_a;
  v[3 * out] = even_b + odd_b;
  v[4 * out] = even_b - odd_b;
  v[5 * out] = g[2 * step];
}

// G^T p: six points to three weights.
static inline void points_to_weights(const Vec* p, int step, Vec* g, int out) {
  const Vec sum_a = p[step] + p[2 * step], less_a = p[step] - p[2 * step];
  const Vec sum_b = p[3 * step] + p[4 * step], less_b = p[3 * step] - p[4 * step];
  g[0] = p[0] - (2.f / 3) * sum_a + (1.f / 6) * sum_b;
  g[out] = (-2.f / 3 * kA) * less_a + (1.f / 6 * kB) * less_b;
  g[2 * out] = (1.f / 3) * (sum_b - sum_a) + p[5 * step];
}

// The tiles of an image batch [samples, height, width], numbered row by row; those at the edges may hang over.
struct Tiles {
  int64_t height, width, down, across, count;

  Tiles(int64_t height, int64_t width, int64_t samples = 1)
      : height(height), width(width), down((height + kTile - 1) / kTile), across((width + kTile - 1) / kTile),
        count(samples * down * across) {}
  explicit Tiles(const ConvolutionArgs& a) : Tiles(a.height, a.width, a.samples) {}

  // How many tiles at once, if each has so many values at all points: they stay in the second-level cache, and the weights
  // are read seldom.
  int64_t block(int64_t values) const {
    int64_t n = kBlockValues / values;
    n = round_up(n < kFewestTiles ? kFewestTiles : n, kRows);
    const int64_t half = round_up((count + 1) / 2, kRows);
    return n > half ? half : n;
  }
  int64_t gradient_block(int64_t values) const {
    const int64_t fitting = kGradientBlockValues / values;
    const int64_t n = round_up(fitting ? fitting : 1, 8);  // some, of however many channels; whole words
    return n > count ? count : n;
  }

  struct Place {
    int64_t sample, y, x;
  };
  Place operator[](int64_t t) const {
    const int64_t in_sample = t % (down * across);
    return {t / (down * across), in_sample / across * kTile, in_sample % across * kTile};
  }
};

// Where the SIZE x SIZE pixels from (y, x) on of an image [height, width, channels] stand, each as whole vectors of channels:
// pixel (i, j) at row[i] + j * step, for columns j from `first` up to `last`; other columns lie outside the image. So do rows
// that stand in `zeros`, SIZE pixels of them. Where the channels fill no whole vectors, pixels are copied to `buffer`.
template <int SIZE, typename T>
struct Patch {
  const T* row[SIZE];
  int64_t step;
  int first, last;

  Patch(const T* image, const Tiles& tiles, int64_t channels, int64_t y, int64_t x, const T* zeros, T* buffer)
      : step(round_up(channels, kLanes)), first(x < 0 ? int(-x) : 0),
        last(tiles.width - x < SIZE ? int(tiles.width - x) : SIZE) {
    for (int i = 0; i < SIZE; i++) {
      const bool inside = y + i >= 0 && y + i < tiles.height;
      row[i] = inside ? image + ((y + i) * tiles.width + x) * channels : zeros;
      if (!inside || step == channels) continue;
      T* copy = buffer + i * SIZE * step;
      for (int j = first; j < last; j++) {
        memcpy(copy + j * step, row[i] + j * channels, size_t(channels) * sizeof(T));
        memset(static_cast<void*>(copy + j * step + channels), 0, size_t(step - channels) * sizeof(T));
      }
      row[i] = copy;
    }
  }

  // Pixels that are all outside.
  explicit Patch(const T* zeros) : step(0), first(SIZE), last(SIZE) {
    for (int i = 0; i < SIZE; i++) row[i] = zeros;
  }

  // The vectors from channel c on of column j.
  void column(int j, int64_t c, Vec* d) const {
    if (j < first || j >= last) {
#pragma GCC unroll 9
      for (int i = 0; i < SIZE; i++) d[i] = Vec{};
      return;
    }
    const int64_t offset = j * step + c;
#pragma GCC unroll 9
    for (int i = 0; i < SIZE; i++) d[i] = load_vec(row[i] + offset);
  }
};

// The patches of TILES tiles from t on, by a function of the tile's number.
template <int TILES, typename F>
static inline auto patches_of(const F& patch, int64_t t) -> std::array<decltype(patch(t)), TILES> {
  if constexpr (TILES == 1)
    return {patch(t)};
  else
    return {patch(t), patch(t + 1)};
}

// Zeros for the tiles from `count` on that a product of kRows rows reads with the last ones: `length` values of each.
template <typename T>
static inline void clear_last_rows(T* points, int64_t count, int64_t length) {
  memset(static_cast<void*>(points + count * length), 0, size_t((round_up(count, kRows) - count) * length) * sizeof(T));
}

// Where a product sums over channels, points stand as values, one tile after the other; where it sums over tiles, as words of
// as many tiles as a word holds. One vector of points goes to either.
static inline void store_points(float* p, const Vec* v) { store_vec(p, v[0]); }
static inline void store_points(BFloat16* p, const Vec* v) { store_vec(p, v[0]); }
static inline void store_points(Pair* p, const Vec* v) { store_words(p, v); }

// B^T d B of the patches that share words: point p of channel c to out[p * pitch + c].
template <int TILES, typename T, typename P>
static inline void transform_input(const Patch<kPatch, T>* patches, int64_t channels, P* out, int64_t pitch) {
  for (int64_t c = 0; c < channels; c += kLanes) {
    Vec d[kPatch], half[TILES][kPoints], v[kPatch][TILES];
    for (int tile = 0; tile < TILES; tile++)
      for (int j = 0; j < kPatch; j++) {
        patches[tile].column(j, c, d);
        to_points(d, 1, half[tile] + j, kPatch);
      }
    for (int i = 0; i < kPatch; i++) {
#pragma GCC unroll 2
      for (int tile = 0; tile < TILES; tile++) to_points(half[tile] + i * kPatch, 1, v[0] + tile, TILES);
#pragma GCC unroll 6
      for (int j = 0; j < kPatch; j++) store_points(out + (i * kPatch + j) * pitch + c, v[j]);
    }
  }
}

// A y A^T of the 4x4 tiles that share words, at SIDE points along each axis: point p of channel k to
// out[p * pitch + k / width * panel_pitch + k % width].
template <int SIDE, void (*AXIS_TO_POINTS)(const Vec*, int, Vec*, int), int TILES, typename T, typename P>
static inline void transform_tile(const Patch<kTile, T>* patches, int64_t channels, P* out, int64_t pitch, int64_t width,
                                  int64_t panel_pitch) {
  for (int64_t k = 0; k < channels; k += kLanes) {
    Vec y[kTile], half[TILES][SIDE * kTile], v[SIDE][TILES];
    for (int tile = 0; tile < TILES; tile++)
      for (int j = 0; j < kTile; j++) {
        patches[tile].column(j, k, y);
        AXIS_TO_POINTS(y, 1, half[tile] + j, kTile);
      }
    P* to = out + k / width * panel_pitch + k % width;
    for (int i = 0; i < SIDE; i++) {
#pragma GCC unroll 2
      for (int tile = 0; tile < TILES; tile++) AXIS_TO_POINTS(half[tile] + i * kTile, 1, v[0] + tile, TILES);
#pragma GCC unroll 6
      for (int j = 0; j < SIDE; j++) store_points(to + (i * SIDE + j) * pitch, v[j]);
    }
  }
}

// The nine taps of WIDTH columns, `column_stride` apart: taps[t][column], zeros past the first `count` columns.
template <int WIDTH, typename T>
static inline void gather_taps(const T* weight, int64_t column_stride, int64_t count, int64_t tap_y, int64_t tap_x,
                               float (*taps)[WIDTH]) {
  if (count >= WIDTH) {  // the compiler knows how many
    for (int t = 0; t < 9; t++) {
      const T* from = weight + t / 3 * tap_y + t % 3 * tap_x;
#pragma GCC unroll 32
      for (int k = 0; k < WIDTH; k++) taps[t][k] = read(from[k * column_stride]);
    }
    return;
  }
  for (int t = 0; t < 9; t++)
    for (int64_t k = 0; k < WIDTH; k++)
      taps[t][k] = k < count ? read(weight[t / 3 * tap_y + t % 3 * tap_x + k * column_stride]) : 0;
}

}  // namespace GAN_LT_ISA
}  // namespace gan_lt
