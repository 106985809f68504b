// Activations and their first two derivatives, element by element, for the host compiler and for CUDA.
//
// Act numbers are those of cuda_ops/activation_table.py. Scalar is float or double. On the host, float exponentials and
// logarithms are polynomials without branches so that loops over them vectorise; they are accurate to about 2e-7 relative.
#pragma once

#ifndef __CUDACC_RTC__
#include <math.h>
#include <stdint.h>
#include <string.h>
#endif

#ifdef __CUDACC__
#define GAN_LT_FN __host__ __device__ __forceinline__
#else
#define GAN_LT_FN static inline __attribute__((always_inline))
#endif

enum Act { kLinear, kRelu, kLrelu, kTanh, kSigmoid, kElu, kSelu, kSoftplus, kSwish };

// Linear, relu and lrelu are z > 0 ? z : slope * z: their derivative needs only the sign, which the output has too.
GAN_LT_FN bool act_is_piecewise_linear(int act) { return act <= kLrelu; }

#ifdef __CUDA_ARCH__
GAN_LT_FN float act_exp(float v) { return expf(v); }
GAN_LT_FN float act_expm1(float v) { return expm1f(v); }
GAN_LT_FN float act_log1p(float v) { return log1pf(v); }
GAN_LT_FN float act_tanh(float v) { return tanhf(v); }
#else
GAN_LT_FN float act_from_bits(int32_t bits) {
  float v;
  memcpy(&v, &bits, 4);
  return v;
}
GAN_LT_FN int32_t act_to_bits(float v) {
  int32_t bits;
  memcpy(&bits, &v, 4);
  return bits;
}
// e^r - 1 for |r| <= ln 2 / 2: r + r^2 q(r), q the Taylor series to r^5 (relative error under 1e-8).
GAN_LT_FN float act_expm1_small(float r) {
  const float q =
      0.5f +
      r * (1.f / 6 + r * (1.f / 24 + r * (1.f / 120 + r * (1.f / 720 + r * (1.f / 5040)))));
  return r + r * r * q;
}
// e^v = 2^n e^r with n = round(v / ln 2); the range ends where 2^n stays a normal float, infinity and NaN pass.
GAN_LT_FN float act_exp(float v) {
  float c = v < -87.f ? -87.f : v;
  c = c > 88.f ? 88.f : c;
  const float shifted = c * 1.44269504f + 12582912.f;  // 1.5 * 2^23: rounds to an integer kept in the low bits
  const float n = shifted - 12582912.f;
  const float r = (c - n * 0.693359375f) + n * 2.12194440e-4f;
  const float two_n = act_from_bits((act_to_bits(shifted) + 127) << 23);
  const float e = two_n + two_n * act_expm1_small(r);
  const float low = v < -87.f ? 0.f : e;
  const float high = v > 88.f ? INFINITY : low;
  return v != v ? v : high;
}
GAN_LT_FN float act_expm1(float v) {
  const float small = act_expm1_small(v);
  const float large = act_exp(v) - 1.f;
  return ((v > -0.34f) & (v < 0.34f)) ? small : large;
}
// log(1 + v) for 0 <= v <= 1 as 2 atanh(s), s = v / (2 + v) <= 1/3.
GAN_LT_FN float act_log1p(float v) {
  const float s = v / (2.f + v);
  const float t = s * s;
  return 2.f * s *
         (1.f + t * (1.f / 3 + t * (1.f / 5 + t * (1.f / 7 + t * (1.f / 9 + t * (1.f / 11 + t * (1.f / 13)))))));
}
// tanh |v| = m / (m + 2) = 1 - 2 / (m + 2) with m = e^(2|v|) - 1, each form where it loses nothing. The sign is put back as
// a bit, and nothing is clamped to a constant: either would make the compiler branch, and the loop no longer vectorises.
GAN_LT_FN float act_tanh(float v) {
  const int32_t bits = act_to_bits(v);
  const float a = act_from_bits(bits & 0x7fffffff);
  const float m = act_expm1_small(2.f * a);
  const float small = m / (m + 2.f);
  const float large = 1.f - 2.f / (act_exp(2.f * a) + 1.f);
  return act_from_bits(act_to_bits(a < 0.17f ? small : large) | (bits & int32_t(0x80000000)));
}
#endif
GAN_LT_FN double act_exp(double v) { return exp(v); }
GAN_LT_FN double act_expm1(double v) { return expm1(v); }
GAN_LT_FN double act_log1p(double v) { return log1p(v); }
GAN_LT_FN double act_tanh(double v) { return tanh(v); }

template <typename S>
GAN_LT_FN S act_sigmoid(S z) {
  return S(1) / (S(1) + act_exp(-z));
}

// selu's constants (Klambauer et al., NeurIPS 2017)
#define GAN_LT_SELU_ALPHA 1.6732632423543772848170429916717
#define GAN_LT_SELU_SCALE 1.0507009873554804934193349852946

// act(z, alpha)
template <int A, typename S>
GAN_LT_FN S act_value(S z, S alpha) {
  if (A == kRelu) return z < S(0) ? S(0) : z;
  if (A == kLrelu) return z < S(0) ? z * alpha : z;
  if (A == kTanh) return act_tanh(z);
  if (A == kSigmoid) return act_sigmoid(z);
  if (A == kElu) {
    const S e = act_expm1(z);
    return z < S(0) ? e : z;
  }
  if (A == kSelu) {
    const S e = S(GAN_LT_SELU_ALPHA) * act_expm1(z);
    return S(GAN_LT_SELU_SCALE) * (z < S(0) ? e : z);
  }
  if (A == kSoftplus) {
    const S a = z < S(0) ? z : -z;
    return (z > S(0) ? z : (z != z ? z : S(0))) + act_log1p(act_exp(a));
  }
  if (A == kSwish) return z * act_sigmoid(z);
  return z;
}

// d act / dz; at a kink, z = 0, the value from the left, as torch has it
template <int A, typename S>
GAN_LT_FN S act_slope(S z, S alpha) {
  if (A == kRelu) return z > S(0) ? S(1) : S(0);
  if (A == kLrelu) return z > S(0) ? S(1) : alpha;
  if (A == kTanh) {
    const S t = act_tanh(z);
    return S(1) - t * t;
  }
  if (A == kSigmoid) {
    const S s = act_sigmoid(z);
    return s * (S(1) - s);
  }
  if (A == kElu) {
    const S e = act_exp(z);
    return z > S(0) ? S(1) : e;
  }
  if (A == kSelu) {
    const S e = S(GAN_LT_SELU_ALPHA) * act_exp(z);
    return S(GAN_LT_SELU_SCALE) * (z > S(0) ? S(1) : e);
  }
  if (A == kSoftplus) return act_sigmoid(z);
  if (A == kSwish) {
    const S s = act_sigmoid(z);
    return s * (S(1) + z * (S(1) - s));
  }
  return S(1);
}

// d^2 act / dz^2; 0 at a kink
template <int A, typename S>
GAN_LT_FN S act_curvature(S z) {
  if (A == kTanh) {
    const S t = act_tanh(z);
    return S(-2) * t * (S(1) - t * t);
  }
  if (A == kSigmoid) {
    const S s = act_sigmoid(z);
    return s * (S(1) - s) * (S(1) - S(2) * s);
  }
  if (A == kElu) {
    const S e = act_exp(z);
    return z < S(0) ? e : S(0);
  }
  if (A == kSelu) {
    const S e = S(GAN_LT_SELU_ALPHA * GAN_LT_SELU_SCALE) * act_exp(z);
    return z < S(0) ? e : S(0);
  }
  if (A == kSoftplus) {
    const S s = act_sigmoid(z);
    return s * (S(1) - s);
  }
  if (A == kSwish) {
    const S s = act_sigmoid(z);
    return s * (S(1) - s) * (S(2) + z * (S(1) - S(2) * s));
  }
  return S(0);
}

// What an epilogue does to z = x + b: gain and limits (limit is infinity where nothing is clamped). NaN passes.
template <typename S>
struct ActScale {
  S alpha, gain, limit;
};

template <int A, typename S>
GAN_LT_FN S epilogue_value(S z, ActScale<S> p) {
  const S v = act_value<A>(z, p.alpha) * p.gain;
  const S low = v < -p.limit ? -p.limit : v;
  return low > p.limit ? p.limit : low;
}

// dy/dz of epilogue_value; 0 where the output is clamped.
template <int A, typename S>
GAN_LT_FN S epilogue_slope(S z, ActScale<S> p) {
  const S slope = act_slope<A>(z, p.alpha) * p.gain;
  const S v = act_value<A>(z, p.alpha) * p.gain;
  return (v > p.limit || v < -p.limit) ? S(0) : slope;
}

// The same from the output y, for piecewise linear activations with positive gain and alpha >= 0. An output at the limit
// counts as clamped.
template <typename S>
GAN_LT_FN S epilogue_slope_from_output(S y, S negative_slope, ActScale<S> p) {
  const S slope = y > S(0) ? p.gain : negative_slope * p.gain;
  return (y >= p.limit || y <= -p.limit) ? S(0) : slope;
}

template <int A, typename S>
GAN_LT_FN S epilogue_curvature(S z, ActScale<S> p) {
  const S v = act_value<A>(z, p.alpha) * p.gain;
  return (v > p.limit || v < -p.limit) ? S(0) : act_curvature<A>(z) * p.gain;
}
