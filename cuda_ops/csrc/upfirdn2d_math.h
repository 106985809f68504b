// Which inputs and taps an upfirdn2d output position reads, along one axis; for the host compiler and for CUDA.
//
// Output o stands at u = o * down - pad in the zero-inserted image; tap t reads position u + t, which holds an input only
// where up divides it. So output o reads taps t0, t0 + up, t0 + 2 up, ... and consecutive inputs from i0 on.
#pragma once

#ifndef __CUDACC_RTC__
#include <stdint.h>
#endif

#ifdef __CUDACC__
#define GAN_LT_UP_FN __host__ __device__ __forceinline__
#else
#define GAN_LT_UP_FN static inline __attribute__((always_inline))
#endif

template <typename I>
struct TapRun {
  I input;  // the first input position, maybe outside [0, size)
  I tap;    // the first tap, in [0, up)
};

// floor(a / b) for b > 0
template <typename I>
GAN_LT_UP_FN I floor_div(I a, I b) {
  const I q = a / b;
  return q - (q * b > a ? 1 : 0);
}

template <typename I>
GAN_LT_UP_FN TapRun<I> tap_run(I output, I up, I down, I pad) {
  const I u = output * down - pad;
  TapRun<I> run;
  run.input = -floor_div(-u, up);  // ceil(u / up)
  run.tap = run.input * up - u;
  return run;
}
