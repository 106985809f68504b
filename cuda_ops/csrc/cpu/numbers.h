// Reading and writing float, double, bfloat16 and float16 as the type that kernels accumulate in; loops vectorise.
#pragma once

#include <stdint.h>
#include <string.h>

#include "kernels.h"

#ifndef GAN_LT_ISA
#define GAN_LT_ISA native
#endif

namespace gan_lt {
// Everything compiled per instruction set lives in a namespace of its own, so that the linker never mixes two sets.
namespace GAN_LT_ISA {

struct BFloat16 {
  uint16_t bits;
};
struct Half {
  uint16_t bits;
};

template <typename T>
struct Accumulator {
  using type = float;
};
template <>
struct Accumulator<double> {
  using type = double;
};

static inline uint32_t float_bits(float v) {
  uint32_t u;
  memcpy(&u, &v, 4);
  return u;
}
static inline float bits_float(uint32_t u) {
  float v;
  memcpy(&v, &u, 4);
  return v;
}

static inline float read(float v) { return v; }
static inline double read(double v) { return v; }
static inline float read(BFloat16 v) { return bits_float(uint32_t(v.bits) << 16); }
static inline float read(Half v) {
  // Exponent and mantissa move to a float whose exponent is 112 too small; a product puts it right, subnormals included.
  const uint32_t magnitude = uint32_t(v.bits & 0x7fff) << 13;
  const float scaled = bits_float(magnitude) * bits_float(uint32_t(254 - 15) << 23);
  const uint32_t special = magnitude >= (0x7c00u << 13) ? 0x7f800000u | (magnitude & 0x7fffffu) : float_bits(scaled);
  return bits_float(special | uint32_t(v.bits & 0x8000) << 16);
}

static inline void write(float* p, float v) { *p = v; }
static inline void write(double* p, double v) { *p = v; }
static inline void write(BFloat16* p, float v) {
  const uint32_t u = float_bits(v);
  const uint32_t rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;  // to nearest, ties to even
  p->bits = uint16_t(v != v ? 0x7fc0u : rounded);
}
static inline void write(Half* p, float v) {
  const uint32_t u = float_bits(v);
  const uint32_t sign = (u >> 16) & 0x8000u;
  const uint32_t a = u & 0x7fffffffu;
  // Subnormal halves: adding 0.5 lines the mantissa up so that the float adder rounds it to nearest even.
  const uint32_t small = float_bits(bits_float(a) + 0.5f) - 0x3f000000u;
  const uint32_t normal = (a - (112u << 23) + 0xfffu + ((a >> 13) & 1u)) >> 13;
  uint32_t h = a < (113u << 23) ? small : normal;
  h = a >= (143u << 23) ? 0x7c00u : h;
  h = a > 0x7f800000u ? 0x7e00u : h;
  p->bits = uint16_t(sign | h);
}

// n values of `source` as S: `source` itself where it has that type, else converted into `buffer`.
template <typename S>
static inline const S* load(const S* source, S*, int64_t) {
  return source;
}
template <typename S, typename T>
static inline const S* load(const T* source, S* buffer, int64_t n) {
  for (int64_t i = 0; i < n; i++) buffer[i] = read(source[i]);
  return buffer;
}
// Where to compute n values for `target`, and putting them there.
template <typename S>
static inline S* staged(S* target, S*) {
  return target;
}
template <typename S, typename T>
static inline S* staged(T*, S* buffer) {
  return buffer;
}
template <typename S>
static inline void store(S*, const S*, int64_t) {}
template <typename S, typename T>
static inline void store(T* target, const S* buffer, int64_t n) {
  for (int64_t i = 0; i < n; i++) write(target + i, buffer[i]);
}

// body(begin, end) over parts of [0, end).
template <typename F>
static inline void parallel(ParallelFor run, int64_t end, int64_t grain, const F& body) {
  run(end, grain < 1 ? 1 : grain, [](int64_t b, int64_t e, void* f) { (*static_cast<const F*>(f))(b, e); },
      const_cast<void*>(static_cast<const void*>(&body)));
}

// f(T*) with T the C++ type of dtype.
template <typename F>
static inline void with_type(Dtype dtype, const F& f) {
  switch (dtype) {
    case Dtype::kFloat: return f(static_cast<float*>(nullptr));
    case Dtype::kDouble: return f(static_cast<double*>(nullptr));
    case Dtype::kBFloat16: return f(static_cast<BFloat16*>(nullptr));
    case Dtype::kHalf: return f(static_cast<Half*>(nullptr));
  }
}

}  // namespace GAN_LT_ISA
}  // namespace gan_lt
