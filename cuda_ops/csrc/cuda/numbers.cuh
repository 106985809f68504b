// Reading and writing float, double, bfloat16 and float16, one or 16 bytes of them at a time, without any CUDA header.
#pragma once

typedef long long Index;

#ifndef GAN_LT_SHARED
#define GAN_LT_SHARED __shared__
#endif

struct BFloat16 {
  unsigned short bits;
};
struct Half {
  unsigned short bits;
};

template <typename T>
struct Accumulator {
  typedef float type;
};
template <>
struct Accumulator<double> {
  typedef double type;
};

__device__ __forceinline__ float read(float v) { return v; }
__device__ __forceinline__ double read(double v) { return v; }
__device__ __forceinline__ float read(BFloat16 v) { return __uint_as_float(unsigned(v.bits) << 16); }
__device__ __forceinline__ void write(float& p, float v) { p = v; }
__device__ __forceinline__ void write(double& p, double v) { p = v; }
__device__ __forceinline__ void write(BFloat16& p, float v) {
  const unsigned u = __float_as_uint(v);
  p.bits = (unsigned short)(v != v ? 0x7fc0u : (u + 0x7fffu + ((u >> 16) & 1u)) >> 16);
}
#ifdef GAN_LT_HOST_EMULATION
float read(Half v);
void write(Half& p, float v);
#else
__device__ __forceinline__ float read(Half v) {
  float f;
  asm("cvt.f32.f16 %0, %1;" : "=f"(f) : "h"(v.bits));
  return f;
}
__device__ __forceinline__ void write(Half& p, float v) {
  asm("cvt.rn.f16.f32 %0, %1;" : "=h"(p.bits) : "f"(v));
}
#endif

// V values that move as one access.
template <typename T, int V>
struct alignas(sizeof(T) * V) Pack {
  T values[V];
};

template <int V, typename S, typename T>
__device__ __forceinline__ void load(S (&out)[V], const T* p) {
  const Pack<T, V> pack = *reinterpret_cast<const Pack<T, V>*>(p);
#pragma unroll
  for (int v = 0; v < V; v++) out[v] = read(pack.values[v]);
}
template <int V, typename S, typename T>
__device__ __forceinline__ void store(T* p, const S (&in)[V]) {
  Pack<T, V> pack;
#pragma unroll
  for (int v = 0; v < V; v++) write(pack.values[v], in[v]);
  *reinterpret_cast<Pack<T, V>*>(p) = pack;
}
