// Vectors of channels in registers, as float, whatever type memory holds; and the matrix product of the 3x3 convolutions.
#pragma once

#if defined(__AVX512F__)
#include <immintrin.h>
#endif

#include <type_traits>

#include "memory.h"

namespace gan_lt {
namespace GAN_LT_ISA {

// Lanes of a vector register, and rows of a product's tile: rows * 2 vectors of sums and the operands fill the registers.
#if defined(GAN_LT_LANES)  // for tests: another CPU's shapes on this one
static constexpr int kLanes = GAN_LT_LANES, kRows = GAN_LT_ROWS;
#elif defined(__AVX512F__)
static constexpr int kLanes = 16, kRows = 12;
#elif defined(__AVX__)
static constexpr int kLanes = 8, kRows = 6;
#elif defined(__aarch64__)
static constexpr int kLanes = 4, kRows = 12;
#else
static constexpr int kLanes = 4, kRows = 6;
#endif
typedef float Vec __attribute__((vector_size(kLanes * sizeof(float))));
typedef uint32_t Bits __attribute__((vector_size(kLanes * sizeof(uint32_t))));
typedef uint16_t HalfBits __attribute__((vector_size(kLanes * sizeof(uint16_t))));

// Instructions that add two products of bfloat16 at once double the speed of a convolution. Without them it is not compiled,
// but for tests.
#if defined(__AVX512BF16__) && !defined(GAN_LT_LANES)
#define GAN_LT_BFLOAT16_INSTRUCTIONS
#define GAN_LT_BFLOAT16
#endif

// Two numbers in one word, as those instructions take them.
struct Pair {
  BFloat16 low, high;
};

static inline Vec load_vec(const float* p) {
  Vec v;
  memcpy(&v, p, sizeof v);
  return v;
}
static inline void store_vec(float* p, const Vec& v) { memcpy(p, &v, sizeof v); }

static inline Vec widened(const HalfBits& bits) {
#if defined(__AVX512F__) && !defined(GAN_LT_LANES)
  // The compiler takes four instructions, and warns of the form without a mask.
  const Bits wide = (Bits)_mm512_maskz_cvtepu16_epi32(__mmask16(-1), (__m256i)bits) << 16;
#else
  const Bits wide = __builtin_convertvector(bits, Bits) << 16;
#endif
  return (Vec)wide;
}
static inline Vec load_vec(const BFloat16* p) {
  HalfBits bits;
  memcpy(&bits, p, sizeof bits);
  return widened(bits);
}

// The bits of v, rounded to bfloat16 in their upper half: to nearest, ties to even; NaN stays NaN.
static inline Bits rounded_bits(const Vec& v) {
  Bits bits;
  memcpy(&bits, &v, sizeof bits);
  const Bits rounded = bits + 0x7fffu + ((bits >> 16) & 1u);
  return v != v ? (bits | 0x400000u) : rounded;
}
// With the instruction, subnormal numbers become 0, as in the products.
static inline HalfBits narrowed(const Vec& v) {
#if defined(GAN_LT_BFLOAT16_INSTRUCTIONS)
  __m512 wide;
  memcpy(&wide, &v, sizeof wide);
  const __m256bh narrow = _mm512_cvtneps_pbh(wide);
  HalfBits bits;
  memcpy(&bits, &narrow, sizeof bits);
  return bits;
#else
  return __builtin_convertvector(rounded_bits(v) >> 16, HalfBits);
#endif
}
static inline void store_vec(BFloat16* p, const Vec& v) {
  const HalfBits bits = narrowed(v);
  memcpy(p, &bits, sizeof bits);
}

#if defined(GAN_LT_BFLOAT16_INSTRUCTIONS)
// As in numbers.h, with the instruction for it.
static inline void store(BFloat16* target, const float* buffer, int64_t n) {
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) store_vec(target + i, load_vec(buffer + i));
  for (; i < n; i++) write(target + i, buffer[i]);
}
#endif

// The first n of the lanes, or all; the others are zeros.
static inline Vec load_lanes(const float* p, int64_t n) {
  if (n >= kLanes) return load_vec(p);
  Vec v = {};
  memcpy(&v, p, size_t(n) * sizeof *p);
  return v;
}
static inline Vec load_lanes(const BFloat16* p, int64_t n) {
  if (n >= kLanes) return load_vec(p);
  HalfBits bits = {};
  memcpy(&bits, p, size_t(n) * sizeof *p);
  return widened(bits);
}
static inline void store_lanes(float* p, const Vec& v, int64_t n) {
  if (n >= kLanes)
    store_vec(p, v);
  else
    memcpy(p, &v, size_t(n) * sizeof *p);
}
static inline void store_lanes(BFloat16* p, const Vec& v, int64_t n) {
  const HalfBits bits = narrowed(v);
  if (n >= kLanes)
    memcpy(p, &bits, sizeof bits);
  else
    memcpy(p, &bits, size_t(n) * sizeof *p);
}

// A product's operands are words: one float, or two bfloat16 that follow each other along the summed dimension.
template <typename T>
struct WordOf {
  using type = float;
};
template <>
struct WordOf<BFloat16> {
  using type = Pair;
};
template <typename T>
using Word = typename WordOf<T>::type;
template <typename T>
static constexpr int kPerWord = sizeof(Word<T>) / sizeof(T);

// Values that follow each other, as the words that they fill.
static inline const float* as_words(const float* p) { return p; }
static inline const Pair* as_words(const BFloat16* p) { return reinterpret_cast<const Pair*>(p); }

// Vectors of words from as many vectors of values.
static inline void store_words(float* p, const Vec* v) { store_vec(p, v[0]); }
static inline void store_words(Pair* p, const Vec* v) {
#if defined(GAN_LT_BFLOAT16_INSTRUCTIONS)
  const __m512i order = _mm512_set_epi16(31, 15, 30, 14, 29, 13, 28, 12, 27, 11, 26, 10, 25, 9, 24, 8, 23, 7, 22, 6, 21, 5,
                                         20, 4, 19, 3, 18, 2, 17, 1, 16, 0);
  __m512 low, high;
  memcpy(&low, v, sizeof low);
  memcpy(&high, v + 1, sizeof high);
  const __m512bh both = _mm512_cvtne2ps_pbh(high, low);
  __m512i words;
  memcpy(&words, &both, sizeof words);
  words = _mm512_permutexvar_epi16(order, words);
#else
  const Bits words = (rounded_bits(v[0]) >> 16) | (rounded_bits(v[1]) & 0xffff0000u);
#endif
  memcpy(static_cast<void*>(p), &words, sizeof words);
}

// How words are multiplied and added up.
template <typename W>
struct Product;
template <>
struct Product<float> {
  using Columns = Vec;
  static Columns load(const float* b) { return load_vec(b); }
  static void add(Vec& sum, const float* a, const Columns& b) { sum += *a * b; }
};
template <>
struct Product<Pair> {
#if defined(GAN_LT_BFLOAT16_INSTRUCTIONS)
  using Columns = __m512bh;
  static Columns load(const Pair* b) {
    Columns v;
    memcpy(&v, b, sizeof v);
    return v;
  }
  static void add(Vec& sum, const Pair* a, const Columns& b) {
    int word;
    memcpy(&word, a, sizeof word);
    const __m512i both = _mm512_set1_epi32(word);
    sum = (Vec)_mm512_dpbf16_ps((__m512)sum, (__m512bh)both, b);
  }
#else
  struct Columns {
    Vec low, high;
  };
  static Columns load(const Pair* b) {
    Bits words;
    memcpy(&words, b, sizeof words);
    const Bits low = words << 16, high = words & 0xffff0000u;
    Columns v;
    memcpy(&v.low, &low, sizeof low);
    memcpy(&v.high, &high, sizeof high);
    return v;
  }
  static void add(Vec& sum, const Pair* a, const Columns& b) { sum += read(a->low) * b.low + read(a->high) * b.high; }
#endif
};

// out[r][j] = sum_s a[r * row + s * step] * b[s][j] (added to out where ADD) for kRows rows r and COLUMNS vectors of
// columns j, sums of the products of words. out's rows are one vector after the other, as b's.
template <int COLUMNS, bool ADD, typename W>
static inline void multiply(const W* a, int64_t row, int64_t step, const W* b, int64_t steps, float* out) {
  constexpr int kWidth = COLUMNS * kLanes;
  Vec sums[kRows][COLUMNS];
#pragma GCC unroll 12
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 2
    for (int q = 0; q < COLUMNS; q++) sums[r][q] = ADD ? load_vec(out + r * kWidth + q * kLanes) : Vec{};
  for (int64_t s = 0; s < steps; s++, a += step, b += kWidth) {
    typename Product<W>::Columns columns[COLUMNS];
#pragma GCC unroll 2
    for (int q = 0; q < COLUMNS; q++) columns[q] = Product<W>::load(b + q * kLanes);
#pragma GCC unroll 12
    for (int r = 0; r < kRows; r++) {
#pragma GCC unroll 2
      for (int q = 0; q < COLUMNS; q++) Product<W>::add(sums[r][q], a + r * row, columns[q]);
    }
  }
#pragma GCC unroll 12
  for (int r = 0; r < kRows; r++)
#pragma GCC unroll 2
    for (int q = 0; q < COLUMNS; q++) store_vec(out + r * kWidth + q * kLanes, sums[r][q]);
}

// f(T*) with T the type of a convolution's images.
template <typename F>
static inline void with_image_type(Dtype dtype, const F& f) {
#if defined(GAN_LT_BFLOAT16)
  if (dtype == Dtype::kBFloat16) return f(static_cast<BFloat16*>(nullptr));
#else
  (void)dtype;  // see Kernels::convolution_in_bfloat16
#endif
  f(static_cast<float*>(nullptr));
}

static inline int64_t round_up(int64_t n, int64_t multiple) { return (n + multiple - 1) / multiple * multiple; }

}  // namespace GAN_LT_ISA
}  // namespace gan_lt
