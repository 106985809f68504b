// Minimal filtering of the 3x3 convolution with stride 2. Rows and columns of even number meet two taps and those of odd
// number one: a tile of 4x4 outputs is the sum of a 2x2, a 2x1, a 1x2 and a 1x1 convolution with stride 1, and at the five
// points 0, 1/2, -1, 2 and infinity these need 25 + 20 + 20 + 16 = 81 multiplications instead of 144 (a single tap has
// nothing at infinity). "Small" is the image of outputs [H, W], "big" that of inputs [2H + 1, 2W + 1].
#pragma once

#include "winograd.h"

namespace gan_lt {
namespace GAN_LT_ISA {

static constexpr int kSide = 5, kFinite = 4, kGrid = kSide * kSide;  // points along an axis, those not at infinity, in all
static constexpr int kBig = 9;                                       // side of a tile's part of the big image

// B^T d: five even (SIDE 5) or four odd pixels (SIDE 4) to as many points.
template <int SIDE>
static inline void strided_to_points(const Vec* d, int step, Vec* v, int out) {
  const Vec &d0 = d[0], &d1 = d[step], &d2 = d[2 * step], &d3 = d[3 * step];
  v[0] = d0 + d3 - 1.5f * (d1 + d2);
  v[out] = d3 - d2 - 2.f * d1;
  v[2 * out] = d3 + d1 - 2.5f * d2;
  v[3 * out] = d3 + .5f * (d2 - d1);
  if (SIDE == kSide) v[4 * out] = d1 + d[4 * step] - 1.5f * (d2 + d3);
}

// B m: points to the pixels that they are made of, the transpose of the above.
template <int SIDE>
static inline void points_to_pixels(const Vec* m, int step, Vec* d, int out) {
  const Vec &m0 = m[0], &m1 = m[step], &m2 = m[2 * step], &m3 = m[3 * step];
  d[0] = m0;
  d[out] = m2 - 1.5f * m0 - 2.f * m1 - .5f * m3;
  d[2 * out] = .5f * m3 - 1.5f * m0 - m1 - 2.5f * m2;
  d[3 * out] = m0 + m1 + m2 + m3;
  if (SIDE == kSide) {
    const Vec& m4 = m[4 * step];
    d[out] += m4;
    d[2 * out] -= 1.5f * m4;
    d[3 * out] -= 1.5f * m4;
    d[4 * out] = m4;
  }
}

// A^T m: five points to four outputs.
static inline void strided_to_outputs(const Vec* m, int step, Vec* y, int out) {
  const Vec &m1 = m[step], &m2 = m[2 * step], &m3 = m[3 * step];
  y[0] = m[0] + m1 + m2 + m3;
  y[out] = .5f * m1 - m2 + 2.f * m3;
  y[2 * out] = .25f * m1 + m2 + 4.f * m3;
  y[3 * out] = .125f * m1 - m2 + 8.f * m3 + m[4 * step];
}

// A y: four outputs to five points, the transpose of the above.
static inline void outputs_to_points(const Vec* y, int step, Vec* v, int out) {
  const Vec &y0 = y[0], &y1 = y[step], &y2 = y[2 * step], &y3 = y[3 * step];
  v[0] = y0;
  v[out] = y0 + .5f * y1 + .25f * y2 + .125f * y3;
  v[2 * out] = y0 - y1 + y2 - y3;
  v[3 * out] = y0 + 2.f * y1 + 4.f * y2 + 8.f * y3;
  v[4 * out] = y3;
}

// G g: the taps 0 and 2 of even pixels, or the tap 1 of odd ones, at all points; taps are `step` apart.
template <int SIDE>
static inline void taps_to_points(const Vec* g, int step, Vec* v, int out) {
  if (SIDE == kFinite) {
    const Vec& tap = g[step];
    v[0] = tap, v[out] = (-8.f / 9) * tap, v[2 * out] = (-2.f / 9) * tap, v[3 * out] = (1.f / 9) * tap;
    return;
  }
  const Vec &g0 = g[0], &g1 = g[2 * step];
  v[0] = g0;
  v[out] = (-8.f / 9) * g0 - (4.f / 9) * g1;
  v[2 * out] = (2.f / 9) * (g1 - g0);
  v[3 * out] = (1.f / 9) * g0 + (2.f / 9) * g1;
  v[4 * out] = g1;
}

// G^T p: all points to the taps 0 and 2, or 1; the transpose of the above.
template <int SIDE>
static inline void points_to_taps(const Vec* p, int step, Vec* g, int out) {
  const Vec &p1 = p[step], &p2 = p[2 * step], &p3 = p[3 * step];
  const Vec first = p[0] - (8.f / 9) * p1 - (2.f / 9) * p2 + (1.f / 9) * p3;
  if (SIDE == kFinite) {
    g[out] = first;
    return;
  }
  g[0] = first;
  g[2 * out] = (2.f / 9) * (p2 + p3) - (4.f / 9) * p1 + p[4 * step];
}

// How many parities of pixels have a share in a point of one axis: both, or at infinity the even alone.
static inline int parities(int point) { return point < kFinite ? 2 : 1; }

// Where a tile's share of the big image stands at point (p, q): the parities that meet there, each `channels` values.
struct Shares {
  int64_t channels, offset[kGrid + 1];

  explicit Shares(int64_t channels) : channels(channels) {
    offset[0] = 0;
    for (int i = 0; i < kGrid; i++) offset[i + 1] = offset[i] + length(i);
  }
  // Where point i begins for a block of tiles; a little apart, so that not all points fall in one set of the cache.
  int64_t start(int i, int64_t block) const { return offset[i] * block + i * kLanes; }
  int64_t length(int i) const { return channels * parities(i / kSide) * parities(i % kSide); }
  int64_t place(int i, int row_parity, int column_parity) const {
    return channels * (row_parity * parities(i % kSide) + column_parity);
  }
};

// B^T d B of the 9x9 pixels of tiles that share words, all parities: point i of tile or word t to
// out[shares.start(i, block) + t * shares.length(i)].
template <int TILES, typename T, typename P>
static inline void transform_big(const Patch<kBig, T>* patches, const Shares& shares, P* out, int64_t t, int64_t block) {
  for (int64_t c = 0; c < shares.channels; c += kLanes) {
    Vec half[TILES][kBig * kBig], d[kBig], v[kBig][TILES];  // rows of half: the even pixels' points, then those of the odd
    for (int tile = 0; tile < TILES; tile++)
      for (int j = 0; j < kBig; j++) {
        patches[tile].column(j, c, d);
        strided_to_points<kSide>(d, 2, half[tile] + j, kBig);
        strided_to_points<kFinite>(d + 1, 2, half[tile] + kSide * kBig + j, kBig);
      }
    for (int r = 0; r < kBig; r++) {
      const int parity = r >= kSide, p = parity ? r - kSide : r;
#pragma GCC unroll 2
      for (int tile = 0; tile < TILES; tile++) {
        strided_to_points<kSide>(half[tile] + r * kBig, 2, v[0] + tile, TILES);
        strided_to_points<kFinite>(half[tile] + r * kBig + 1, 2, v[kSide] + tile, TILES);
      }
#pragma GCC unroll 9
      for (int s = 0; s < kBig; s++) {
        const int i = p * kSide + (s < kSide ? s : s - kSide);
        store_points(out + shares.start(i, block) + t * shares.length(i) + shares.place(i, parity, s >= kSide) + c, v[s]);
      }
    }
  }
}

// Where a sample begins in a batch of big images.
template <typename T>
static inline const T* big_image(const void* x, const ConvolutionArgs& a, int64_t sample, int64_t channels) {
  return static_cast<const T*>(x) + sample * (2 * a.height + 1) * (2 * a.width + 1) * channels;
}

// G g G^T for the parities (ROWS 5 or 4, COLUMNS 5 or 4 points) of one vector of channels: rows of kSide points.
template <int ROWS, int COLUMNS>
static inline void taps_to_grid(const Vec* g, Vec* u) {
  Vec half[kSide * 3];
  for (int j = 0; j < 3; j++)
    if ((j == 1) == (COLUMNS == kFinite)) taps_to_points<ROWS>(g + j, 3, half + j, 3);
  for (int i = 0; i < ROWS; i++) taps_to_points<COLUMNS>(half + i * 3, 1, u + i * kSide, 1);
}

// f(rows, columns) for the four parities, each as a type with its number of points.
template <int N>
struct Points {
  static constexpr int value = N;
};
template <typename F>
static inline void each_parity(const F& f) {
  f(Points<kSide>(), Points<kSide>());
  f(Points<kSide>(), Points<kFinite>());
  f(Points<kFinite>(), Points<kSide>());
  f(Points<kFinite>(), Points<kFinite>());
}

}  // namespace GAN_LT_ISA
}  // namespace gan_lt
