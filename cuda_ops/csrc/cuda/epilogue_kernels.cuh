// Bias, activation, gain and clamp, with demodulation and noise, on CUDA: forward, gradient with its sums in the same pass,
// and the gradient of the gradient.
//
// A block is columns x rows of threads. channels_last: columns run over vectors of channels, rows over pixels of one sample,
// so every thread keeps its channels' parameters and sums in registers. Otherwise columns run over vectors of pixels and
// rows over planes. Each block adds its sums in shared memory and writes one partial result: no atomics, the same bits
// every time.
#pragma once

#include "../bias_act_math.h"
#include "arguments.h"
#include "numbers.cuh"

// The value's pass over z, with smooth activations switched at run time (the branch is the same for all threads).
#define GAN_LT_SMOOTH_SWITCH(act, CALL) \
  switch (act) {                        \
    case kTanh: CALL(kTanh); break;     \
    case kSigmoid: CALL(kSigmoid); break; \
    case kElu: CALL(kElu); break;       \
    case kSelu: CALL(kSelu); break;     \
    case kSoftplus: CALL(kSoftplus); break; \
    default: CALL(kSwish); break;       \
  }

// y of z, in place, for V values.
template <bool SMOOTH, int V, typename S>
__device__ __forceinline__ void values_of(S (&z)[V], int act, ActScale<S> p) {
  if (SMOOTH) {
#define GAN_LT_CALL(A) \
  _Pragma("unroll") for (int v = 0; v < V; v++) z[v] = epilogue_value<A>(z[v], p)
    GAN_LT_SMOOTH_SWITCH(act, GAN_LT_CALL)
#undef GAN_LT_CALL
  } else if (act == kRelu) {
#pragma unroll
    for (int v = 0; v < V; v++) z[v] = epilogue_value<kRelu>(z[v], p);
  } else {
#pragma unroll
    for (int v = 0; v < V; v++) z[v] = epilogue_value<kLrelu>(z[v], p);
  }
}

// dy/dz, in place of z (or of y where from_output).
template <bool SMOOTH, int V, typename S>
__device__ __forceinline__ void slopes_of(S (&z)[V], int act, bool from_output, ActScale<S> p) {
  if (SMOOTH) {
#define GAN_LT_CALL(A) \
  _Pragma("unroll") for (int v = 0; v < V; v++) z[v] = epilogue_slope<A>(z[v], p)
    GAN_LT_SMOOTH_SWITCH(act, GAN_LT_CALL)
#undef GAN_LT_CALL
  } else if (from_output) {
#pragma unroll
    for (int v = 0; v < V; v++) z[v] = epilogue_slope_from_output(z[v], p.alpha, p);
  } else {
#pragma unroll
    for (int v = 0; v < V; v++) z[v] = epilogue_slope<kLrelu>(z[v], p);
  }
}

template <int V, typename S>
__device__ __forceinline__ void curvatures_of(S (&z)[V], int act, ActScale<S> p) {
#define GAN_LT_CALL(A) \
  _Pragma("unroll") for (int v = 0; v < V; v++) z[v] = epilogue_curvature<A>(z[v], p)
  GAN_LT_SMOOTH_SWITCH(act, GAN_LT_CALL)
#undef GAN_LT_CALL
}

// Where a thread works: its column's first channel or pixel, and how it steps.
struct Place {
  Index sample, channel, column, begin, end, step, base, stride;
  bool active;
};

template <int V>
__device__ __forceinline__ Place place(const EpilogueCuda& a) {
  Place t;
  const Index part = blockIdx.y;
  if (a.channels_last) {
    // One column of V channels; rows are pixels [begin, end) of the sample's part.
    t.sample = blockIdx.z;
    t.column = (Index(blockIdx.x) * blockDim.x + threadIdx.x) * V;
    t.active = t.column < a.channels;
    t.channel = t.column;
    const Index span = (a.pixels + a.parts - 1) / a.parts;
    t.begin = part * span + threadIdx.y;
    t.end = (part + 1) * span < a.pixels ? (part + 1) * span : a.pixels;
    t.step = blockDim.y;
    t.base = t.sample * a.pixels * a.channels + t.column;
    t.stride = a.channels;
  } else {
    // One plane; vectors of V pixels [begin, end) of the plane's part.
    const Index plane = Index(blockIdx.x) * blockDim.y + threadIdx.y;
    t.active = plane < a.samples * a.channels;
    t.sample = t.active ? plane / a.channels : 0;
    t.channel = t.active ? plane - t.sample * a.channels : 0;
    const Index vectors = a.pixels / V, span = (vectors + a.parts - 1) / a.parts;
    t.column = 0;
    t.begin = part * span + threadIdx.x;
    t.end = (part + 1) * span < vectors ? (part + 1) * span : vectors;
    t.step = blockDim.x;
    t.base = plane * a.pixels;
    t.stride = V;
  }
  return t;
}

// A thread's parameters: those of its V channels, or of its one channel V times.
template <int V, typename S>
__device__ __forceinline__ void parameters(S (&out)[V], const void* values, S otherwise, const EpilogueCuda& a, Index first) {
  const S* p = static_cast<const S*>(values);
#pragma unroll
  for (int v = 0; v < V; v++) out[v] = p ? p[first + (a.channels_last ? v : 0)] : otherwise;
}

// The noise of V values: one pixel's, or those of V pixels.
template <int V, typename S>
__device__ __forceinline__ void noises(S (&out)[V], const EpilogueCuda& a, const Place& t, Index i) {
  const S* p = static_cast<const S*>(a.noise) + (a.noise_per_sample ? t.sample * a.pixels : 0);
#pragma unroll
  for (int v = 0; v < V; v++) out[v] = a.channels_last ? p[i] : p[i * V + v];
}

template <typename S>
__device__ __forceinline__ ActScale<S> scale_of(const EpilogueCuda& a) {
  ActScale<S> p;
  p.alpha = S(a.act == kLinear ? 1 : a.act == kRelu ? 0 : a.alpha);
  p.gain = S(a.gain);
  p.limit = S(a.limit);
  return p;
}

template <typename T, int V, bool SMOOTH, bool MODULATED>
__global__ void __launch_bounds__(256) epilogue_forward(EpilogueCuda a) {
  typedef typename Accumulator<T>::type S;
  const ActScale<S> p = scale_of<S>(a);
  Place t = place<V>(a);
  if (!t.active) return;
  const T* x = static_cast<const T*>(a.x) + t.base;
  T* y = static_cast<T*>(a.y) + t.base;
  S bias[V], demod[V];
  parameters<V, S>(bias, a.bias, S(0), a, t.channel);
  if (MODULATED) parameters<V, S>(demod, a.demod, S(1), a, t.sample * a.channels + t.channel);
  const S strength = MODULATED && a.noise ? *static_cast<const S*>(a.strength) : S(0);
#pragma unroll 4
  for (Index i = t.begin; i < t.end; i += t.step) {
    S z[V];
    load<V>(z, x + i * t.stride);
    if (MODULATED) {
      S noise[V];
      if (a.noise) noises<V>(noise, a, t, i);
#pragma unroll
      for (int v = 0; v < V; v++) z[v] = z[v] * demod[v] + (a.noise ? noise[v] * strength : S(0)) + bias[v];
    } else {
#pragma unroll
      for (int v = 0; v < V; v++) z[v] += bias[v];
    }
    values_of<SMOOTH, V>(z, a.act, p);
    store<V>(y + i * t.stride, z);
  }
}

template <typename T, int V, bool SMOOTH, bool MODULATED>
__global__ void __launch_bounds__(256) epilogue_gradient(EpilogueCuda a) {
  typedef typename Accumulator<T>::type S;
  constexpr int kSums = MODULATED ? 3 : 1;
  const ActScale<S> p = scale_of<S>(a);
  const Place t = place<V>(a);
  S sums[kSums][V];
#pragma unroll
  for (int s = 0; s < kSums; s++)
#pragma unroll
    for (int v = 0; v < V; v++) sums[s][v] = S(0);
  if (t.active) {
    const T* x = static_cast<const T*>(a.x) + t.base;
    const T* dy = static_cast<const T*>(a.dy) + t.base;
    T* dx = static_cast<T*>(a.y) + t.base;
    S bias[V], tangent[V], demod[V];
    parameters<V, S>(bias, a.from_output ? nullptr : a.bias, S(0), a, t.channel);
    parameters<V, S>(tangent, a.tangent, S(0), a, t.channel);
    if (MODULATED) parameters<V, S>(demod, a.demod, S(1), a, t.sample * a.channels + t.channel);
    const S strength = MODULATED && a.noise ? *static_cast<const S*>(a.strength) : S(0);
#pragma unroll 2
    for (Index i = t.begin; i < t.end; i += t.step) {
      S d[V], input[V], z[V], noise[V];
      load<V>(input, x + i * t.stride);
      load<V>(d, dy + i * t.stride);
      if (MODULATED && a.noise) noises<V>(noise, a, t, i);
#pragma unroll
      for (int v = 0; v < V; v++) {
        if (!MODULATED || !a.noise) noise[v] = S(0);
        z[v] = MODULATED ? input[v] * demod[v] + noise[v] * strength + bias[v] : input[v] + bias[v];
      }
      slopes_of<SMOOTH, V>(z, a.act, a.from_output, p);
#pragma unroll
      for (int v = 0; v < V; v++) {
        const S dz = (d[v] + tangent[v]) * z[v];
        sums[0][v] += dz;
        if (MODULATED) {
          sums[kSums - 2 + (kSums == 1)][v] += dz * input[v];
          sums[kSums - 1][v] += dz * noise[v];
        }
        d[v] = MODULATED ? dz * demod[v] : dz;
      }
      store<V>(dx + i * t.stride, d);
    }
  }
  if (!a.partial) return;
  // Down the rows for channels_last, along the columns otherwise.
  extern __shared__ double shared_memory[];
  S* shared = reinterpret_cast<S*>(shared_memory);  // [rows, columns, V] or [rows, columns]
  S* partial = static_cast<S*>(a.partial) + (t.sample * a.parts + blockIdx.y) * 3 * a.channels + t.channel;
  const int columns = blockDim.x;
#pragma unroll
  for (int s = 0; s < kSums; s++) {
    __syncthreads();
    if (a.channels_last) {
#pragma unroll
      for (int v = 0; v < V; v++) shared[(threadIdx.y * columns + threadIdx.x) * V + v] = sums[s][v];
      __syncthreads();
      if (t.active && threadIdx.y == 0) {
#pragma unroll
        for (int v = 0; v < V; v++) {
          S total = S(0);
          for (int r = 0; r < int(blockDim.y); r++) total += shared[(r * columns + threadIdx.x) * V + v];
          partial[s * a.channels + v] = total;
        }
      }
    } else {
      S own = S(0);
#pragma unroll
      for (int v = 0; v < V; v++) own += sums[s][v];
      shared[threadIdx.y * columns + threadIdx.x] = own;
      __syncthreads();
      for (int half = columns / 2; half > 0; half /= 2) {
        if (int(threadIdx.x) < half)
          shared[threadIdx.y * columns + threadIdx.x] += shared[threadIdx.y * columns + threadIdx.x + half];
        __syncthreads();
      }
      if (t.active && threadIdx.x == 0) partial[s * a.channels] = shared[threadIdx.y * columns];
    }
  }
}

// d_dy = v slope(z), d_x = v dy curvature(z), v = ddx + tangent; smooth activations only.
template <typename T, int V>
__global__ void __launch_bounds__(256) epilogue_second(EpilogueCuda a) {
  typedef typename Accumulator<T>::type S;
  const ActScale<S> p = scale_of<S>(a);
  const Place t = place<V>(a);
  if (!t.active) return;
  const T* x = static_cast<const T*>(a.x) + t.base;
  const T* dy = static_cast<const T*>(a.dy) + t.base;
  const T* ddx = static_cast<const T*>(a.ddx) + t.base;
  S bias[V], tangent[V];
  parameters<V, S>(bias, a.bias, S(0), a, t.channel);
  parameters<V, S>(tangent, a.tangent, S(0), a, t.channel);
  for (Index i = t.begin; i < t.end; i += t.step) {
    S d[V], v_x[V], z[V], slope[V];
    load<V>(z, x + i * t.stride);
    load<V>(d, dy + i * t.stride);
    load<V>(v_x, ddx + i * t.stride);
#pragma unroll
    for (int v = 0; v < V; v++) {
      z[v] += bias[v];
      slope[v] = z[v];
      v_x[v] += tangent[v];
    }
    slopes_of<true, V>(slope, a.act, false, p);
    curvatures_of<V>(z, a.act, p);
#pragma unroll
    for (int v = 0; v < V; v++) {
      slope[v] *= v_x[v];
      z[v] *= v_x[v] * d[v];
    }
    store<V>(static_cast<T*>(a.y) + t.base + i * t.stride, slope);
    store<V>(static_cast<T*>(a.d_x) + t.base + i * t.stride, z);
  }
}
