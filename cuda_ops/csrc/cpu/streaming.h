// Stores past the caches, for outputs so large that they would not stay there: the line need not be read before it is written.
#pragma once

#include <stdint.h>
#include <string.h>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace gan_lt {
namespace GAN_LT_ISA {

// Copies bytes; the destination may start and end anywhere.
static inline void stream_copy(void* to, const void* from, int64_t bytes) {
#if defined(__SSE2__)
  char* d = static_cast<char*>(to);
  const char* s = static_cast<const char*>(from);
  int64_t head = int64_t(-reinterpret_cast<uintptr_t>(d) & 63);
  head = head < bytes ? head : bytes;
  memcpy(d, s, size_t(head));
  int64_t i = head;
  for (; i + 64 <= bytes; i += 64)
    for (int q = 0; q < 64; q += 16)
      _mm_stream_si128(reinterpret_cast<__m128i*>(d + i + q), _mm_loadu_si128(reinterpret_cast<const __m128i*>(s + i + q)));
  memcpy(d + i, s + i, size_t(bytes - i));
#else
  memcpy(to, from, size_t(bytes));
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
