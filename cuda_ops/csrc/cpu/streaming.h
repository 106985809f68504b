// Stores past the caches, for outputs so large that they would not stay there: the line need not be read before it is written.
#pragma once

#if defined(__SSE2__)
#include <immintrin.h>
#endif

#include "vectors.h"

namespace gan_lt {
namespace GAN_LT_ISA {

// To an address that is a multiple of the vector's size; an ordinary store where there is no such instruction.
static inline void stream_vec(float* p, const Vec& v) {
#if defined(GAN_LT_LANES)
  store_vec(p, v);
#elif defined(__AVX512F__)
  _mm512_stream_ps(p, (__m512)v);
#elif defined(__AVX__)
  _mm256_stream_ps(p, (__m256)v);
#elif defined(__SSE2__)
  _mm_stream_ps(p, (__m128)v);
#else
  store_vec(p, v);
#endif
}
static inline void stream_vec(BFloat16* p, const Vec& v) {
#if defined(GAN_LT_LANES)
  store_vec(p, v);
#elif defined(__AVX512F__)
  _mm256_stream_si256(reinterpret_cast<__m256i*>(p), (__m256i)narrowed(v));
#elif defined(__AVX__)
  _mm_stream_si128(reinterpret_cast<__m128i*>(p), (__m128i)narrowed(v));
#else
  store_vec(p, v);
#endif
}

// Before another thread reads what was streamed.
static inline void stream_end() {
#if defined(__SSE2__)
  _mm_sfence();
#endif
}

}  // namespace GAN_LT_ISA
}  // namespace gan_lt
