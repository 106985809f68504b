// CUDA's words for a host compiler, so that the kernels' own source runs, slowly, where there is no GPU. Every thread of a
// block is a fiber; __syncthreads passes control on until all of them have come to it.
#pragma once

#include <math.h>
#include <stdint.h>
#include <string.h>
#include <ucontext.h>

#define GAN_LT_HOST_EMULATION
#define GAN_LT_SHARED static
#define __shared__
#define __global__
#define __device__
#define __forceinline__ inline
#define __launch_bounds__(...)

struct Dim3 {
  unsigned x, y, z;
};
extern Dim3 blockIdx, threadIdx, blockDim, gridDim;
extern double shared_memory[];
void __syncthreads();

inline float __uint_as_float(unsigned u) {
  float v;
  memcpy(&v, &u, 4);
  return v;
}
inline unsigned __float_as_uint(float v) {
  unsigned u;
  memcpy(&u, &v, 4);
  return u;
}
