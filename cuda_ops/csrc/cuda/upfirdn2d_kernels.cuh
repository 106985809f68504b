// upfirdn2d on CUDA.
//
// upfirdn2d_rows: filters of up to TAPS x TAPS taps with factors fixed at compile time. A thread makes ROWS output rows at
// one column (of V channels where channels_last): it walks down the input rows they need, reads each row's few neighbours
// once (they lie in the L1 cache, shared with the neighbouring threads) and adds them to all the outputs they belong to, in
// registers. A separable filter is applied along the row first: two fused passes.
// upfirdn2d_any: any filter and factors, one output a thread.
#pragma once

#include "../upfirdn2d_math.h"
#include "arguments.h"
#include "numbers.cuh"

// Tap (ty, tx) of the correlation, without gain.
template <typename S>
__device__ __forceinline__ S line_tap(const UpfirdnCuda& a, int t) {
  return S(a.taps[a.flip ? t : a.fw - 1 - t]);
}
template <typename S>
__device__ __forceinline__ S tap(const UpfirdnCuda& a, int ty, int tx) {
  if (a.separable) return line_tap<S>(a, ty) * line_tap<S>(a, tx);
  return S(a.taps[(a.flip ? ty : a.fh - 1 - ty) * a.fw + (a.flip ? tx : a.fw - 1 - tx)]);
}

template <typename T, int V, int UP, int DOWN, int TAPS, bool SEPARABLE, int ROWS>
__global__ void __launch_bounds__(256, 2) upfirdn2d_rows(UpfirdnCuda a) {
  typedef typename Accumulator<T>::type S;
  constexpr int kRun = TAPS / UP;  // inputs an output reads, along each axis
  constexpr int kWeightRows = SEPARABLE ? 1 : TAPS;
  constexpr int kInputRows = (UP == 1 ? (ROWS - 1) * DOWN : ROWS / UP) + kRun;
  GAN_LT_SHARED S taps[TAPS * TAPS];
  for (int i = threadIdx.x; i < TAPS * TAPS; i += blockDim.x) {
    const int ty = i / TAPS, tx = i % TAPS;
    if (SEPARABLE)
      taps[i] = ty == 0 && tx < a.fw ? line_tap<S>(a, tx) : S(0);
    else
      taps[i] = ty < a.fh && tx < a.fw ? tap<S>(a, ty, tx) : S(0);
  }
  __syncthreads();
  const Index vectors = a.k / V;
  const Index index = Index(blockIdx.x) * blockDim.x + threadIdx.x;
  const Index plane = index / (vectors * a.out_w);
  if (plane >= a.planes) return;
  const Index rest = index - plane * vectors * a.out_w;
  const int ox = int(rest / vectors);
  const Index channel = (rest - ox * vectors) * V;
  // Output rows start where the phase is zero, so that phases are known at compile time; the first may lie above the image.
  const int first = int(blockIdx.y) * ROWS - (UP == 2 ? (a.pad_y & 1) : 0);
  const TapRun<int> run_x = tap_run<int>(ox, UP, DOWN, a.pad_x);
  const TapRun<int> run_y = tap_run<int>(first, UP, DOWN, a.pad_y);
  S weights[kWeightRows][kRun];
#pragma unroll
  for (int y = 0; y < kWeightRows; y++)
#pragma unroll
    for (int t = 0; t < kRun; t++) weights[y][t] = taps[y * TAPS + run_x.tap + t * UP];
  S sums[ROWS][V];
#pragma unroll
  for (int q = 0; q < ROWS; q++)
#pragma unroll
    for (int v = 0; v < V; v++) sums[q][v] = S(0);
  const T* x = static_cast<const T*>(a.x) + plane * a.in_h * Index(a.in_w) * a.k + channel;
#pragma unroll
  for (int r = 0; r < kInputRows; r++) {
    const int iy = run_y.input + r;
    if (iy < 0 || iy >= a.in_h) continue;
    const T* row = x + iy * Index(a.in_w) * a.k;
    S line[kRun][V];
#pragma unroll
    for (int t = 0; t < kRun; t++) {
      const int ix = run_x.input + t;
      if (ix >= 0 && ix < a.in_w) {
        load<V>(line[t], row + ix * a.k);
      } else {
#pragma unroll
        for (int v = 0; v < V; v++) line[t][v] = S(0);
      }
    }
    if (SEPARABLE) {
#pragma unroll
      for (int v = 0; v < V; v++) {
        S h = S(0);
#pragma unroll
        for (int t = 0; t < kRun; t++) h += weights[0][t] * line[t][v];
        line[0][v] = h;
      }
    }
#pragma unroll
    for (int q = 0; q < ROWS; q++) {
      const int before = UP == 1 ? q * DOWN : (q + 1) / 2;  // input rows before output q's first
      const int j = r - before;
      if (j < 0 || j >= kRun) continue;
      const int ty = (UP == 1 ? 0 : q % 2) + j * UP;
#pragma unroll
      for (int v = 0; v < V; v++) {
        if (SEPARABLE) {
          sums[q][v] += taps[ty] * line[0][v];
        } else {
#pragma unroll
          for (int t = 0; t < kRun; t++) sums[q][v] += weights[SEPARABLE ? 0 : ty][t] * line[t][v];
        }
      }
    }
  }
  T* y = static_cast<T*>(a.y) + plane * a.out_h * Index(a.out_w) * a.k + channel;
#pragma unroll
  for (int q = 0; q < ROWS; q++) {
    const int oy = first + q;
    if (oy < 0 || oy >= a.out_h) continue;
#pragma unroll
    for (int v = 0; v < V; v++) sums[q][v] *= S(a.gain);
    store<V>(y + (oy * Index(a.out_w) + ox) * a.k, sums[q]);
  }
}

template <typename T, int V>
__global__ void __launch_bounds__(256) upfirdn2d_any(UpfirdnCuda a) {
  typedef typename Accumulator<T>::type S;
  const Index vectors = a.k / V, total = a.planes * a.out_h * Index(a.out_w) * vectors;
  const T* x = static_cast<const T*>(a.x);
  T* y = static_cast<T*>(a.y);
  for (Index index = Index(blockIdx.x) * blockDim.x + threadIdx.x; index < total; index += Index(gridDim.x) * blockDim.x) {
    Index rest = index / vectors;
    const Index channel = (index - rest * vectors) * V;
    const int ox = int(rest % a.out_w);
    rest /= a.out_w;
    const int oy = int(rest % a.out_h);
    const Index plane = rest / a.out_h;
    const TapRun<int> run_x = tap_run<int>(ox, a.up_x, a.down_x, a.pad_x);
    const TapRun<int> run_y = tap_run<int>(oy, a.up_y, a.down_y, a.pad_y);
    S sum[V];
#pragma unroll
    for (int v = 0; v < V; v++) sum[v] = S(0);
    for (int ty = run_y.tap, iy = run_y.input; ty < a.fh; ty += a.up_y, iy++) {
      if (iy < 0 || iy >= a.in_h) continue;
      for (int tx = run_x.tap, ix = run_x.input; tx < a.fw; tx += a.up_x, ix++) {
        if (ix < 0 || ix >= a.in_w) continue;
        const S weight = tap<S>(a, ty, tx);
        S value[V];
        load<V>(value, x + ((plane * a.in_h + iy) * a.in_w + ix) * a.k + channel);
#pragma unroll
        for (int v = 0; v < V; v++) sum[v] += weight * value[v];
      }
    }
#pragma unroll
    for (int v = 0; v < V; v++) sum[v] *= S(a.gain);
    store<V>(y + ((plane * a.out_h + oy) * a.out_w + ox) * a.k + channel, sum);
  }
}
