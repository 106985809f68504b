// Weighted sums of rows, what both passes of upfirdn2d come down to; they vectorise along the row.
#pragma once

#include "numbers.h"

namespace gan_lt {
namespace GAN_LT_ISA {

// out[i] = weights[0] * rows[0][i] + ... for n values; COUNT rows, added to out where ADD.
template <int COUNT, bool ADD, typename O, typename S, typename T>
static inline void sum_rows(O* __restrict out, const T* const* rows, const S* weights, int64_t n) {
  const T* __restrict r0 = rows[0];
  const T* __restrict r1 = rows[COUNT > 1 ? 1 : 0];
  const T* __restrict r2 = rows[COUNT > 2 ? 2 : 0];
  const T* __restrict r3 = rows[COUNT > 3 ? 3 : 0];
  const S w0 = weights[0], w1 = weights[COUNT > 1 ? 1 : 0];
  const S w2 = weights[COUNT > 2 ? 2 : 0], w3 = weights[COUNT > 3 ? 3 : 0];
  for (int64_t i = 0; i < n; i++) {
    S v = w0 * read(r0[i]);
    if (COUNT > 1) v += w1 * read(r1[i]);
    if (COUNT > 2) v += w2 * read(r2[i]);
    if (COUNT > 3) v += w3 * read(r3[i]);
    write(out + i, ADD ? S(read(out[i])) + v : v);
  }
}

template <bool ADD, typename O, typename S, typename T>
static void sum_some_rows(O* out, const T* const* rows, const S* weights, int64_t count, int64_t n) {
  switch (count) {
    case 1: return sum_rows<1, ADD>(out, rows, weights, n);
    case 2: return sum_rows<2, ADD>(out, rows, weights, n);
    case 3: return sum_rows<3, ADD>(out, rows, weights, n);
    default: return sum_rows<4, ADD>(out, rows, weights, n);
  }
}

// The same for any number of rows; sums are kept as S all along.
template <bool ADD, typename O, typename S, typename T>
static void sum_all_rows(O* out, const T* const* rows, const S* weights, int64_t count, int64_t n) {
  if (count >= 1 && count <= 4) return sum_some_rows<ADD>(out, rows, weights, count, n);
  constexpr int64_t kPiece = 256;
  S sums[kPiece];
  for (int64_t begin = 0; begin < n; begin += kPiece) {
    const int64_t size = n - begin < kPiece ? n - begin : kPiece;
    for (int64_t i = 0; i < size; i++) sums[i] = ADD ? S(read(out[begin + i])) : S(0);
    for (int64_t done = 0; done < count; done += 4) {
      const int64_t here = count - done < 4 ? count - done : 4;
      const T* pieces[4];
      for (int64_t r = 0; r < here; r++) pieces[r] = rows[done + r] + begin;
      sum_some_rows<true>(sums, pieces, weights + done, here, size);
    }
    for (int64_t i = 0; i < size; i++) write(out + begin + i, sums[i]);
  }
}

// Four sums at once, `pitch` apart, of TAPS rows each, the second from row O1 on, the third from O2, the fourth from O3: a
// row that several of them want is read once. Weights alternate between two sets (of upsampling), or are all alike.
template <int TAPS, int O1, int O2, int O3, typename S, typename T>
static void sum_four(S* lines, int64_t pitch, const T* const* rows, const S* even, const S* odd, int64_t n) {
  constexpr int kStarts[4] = {0, O1, O2, O3};
  constexpr bool kAlike = O2 == 2 * O1;
  const T* r[O3 + TAPS];
  S w[2][TAPS];
  for (int j = 0; j < O3 + TAPS; j++) r[j] = rows[j];
  for (int t = 0; t < TAPS; t++) w[0][t] = even[t], w[1][t] = kAlike ? even[t] : odd[t];
#pragma omp simd
  for (int64_t i = 0; i < n; i++) {
    S v[O3 + TAPS], sums[4];
    for (int j = 0; j < O3 + TAPS; j++) v[j] = read(r[j][i]);
    for (int q = 0; q < 4; q++) {
      sums[q] = w[q % 2][0] * v[kStarts[q]];
      for (int t = 1; t < TAPS; t++) sums[q] += w[q % 2][t] * v[kStarts[q] + t];
    }
    for (int q = 0; q < 4; q++) lines[q * pitch + i] = sums[q];
  }
}

}  // namespace GAN_LT_ISA
}  // namespace gan_lt
