// Activations and their first two derivatives, element by element, for the host compiler and for CUDA.
//
// Act numbers are those of cuda_ops/activation_table.py. Scalar is float or double. On the host, float exponentials and
// logarithms are polynomials without branches so that loops over them vectorise. Every activation is made of e^v and
// e^v - 1 with v <= 0, which cannot overflow: what comes out for v > 0 is not used. Polynomials are minimax fits; functions
// are within 3 units in the last place.
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
GAN_LT_FN float act_abs(float v) { return fabsf(v); }
GAN_LT_FN float act_exp(float v) { return expf(v); }
GAN_LT_FN float act_expm1(float v) { return expm1f(v); }
GAN_LT_FN float act_log1p(float v) { return log1pf(v); }
GAN_LT_FN float act_tanh(float v) { return tanhf(v); }
#else
GAN_LT_FN float act_abs(float v) { return fabsf(v); }
GAN_LT_FN float act_from_bits(uint32_t bits) {
  float v;
  memcpy(&v, &bits, 4);
  return v;
}
GAN_LT_FN uint32_t act_to_bits(float v) {
  uint32_t bits;
  memcpy(&bits, &v, 4);
  return bits;
}
// e^v = 2^n (1 + m) with n = round(v / ln 2), m = e^r - 1, |r| <= ln 2 / 2. Where 2^n is no normal float it is 0; NaN passes.
struct ActPower {
  float two_n, m;
};
GAN_LT_FN ActPower act_power(float v) {
  const float c = v < -88.f ? -88.f : v;
  const float shifted = c * 1.44269504f + 12582912.f;  // 1.5 * 2^23: rounds to an integer kept in the low bits
  const float n = shifted - 12582912.f;
  const float r = (c - n * 0.693359375f) + n * 2.12194440e-4f;
  const float q = 0.5f + r * (0.16666542f + r * (0.041666277f + r * (0.008366743f + r * 0.0013946724f)));
  ActPower power;
  power.two_n = act_from_bits((act_to_bits(shifted) + 127) << 23);
  power.m = r + r * r * q;
  return power;
}
GAN_LT_FN float act_exp(float v) {
  const ActPower power = act_power(v);
  return power.two_n * (1.f + power.m);
}
GAN_LT_FN float act_expm1(float v) {
  const ActPower power = act_power(v);
  return power.two_n * power.m + (power.two_n - 1.f);
}
// log(1 + v) for 0 <= v <= 1
GAN_LT_FN float act_log1p(float v) {
  const float highest = 0.10603654f + v * (-0.056959517f + v * (0.019851454f + v * -0.0032440233f));
  const float high = 0.1967594f + v * (-0.15305592f + v * highest);
  return v * (1.f + v * (-0.499999f + v * (0.33329964f + v * (-0.24954134f + v * high))));
}
// tanh |v| = -m / (2 + m) with m = e^(-2 |v|) - 1; the sign is put back as a bit, so that the loop does not branch (0 - m is
// not -m: of zeros it is +0).
GAN_LT_FN float act_tanh(float v) {
  const float m = act_expm1(-2.f * act_abs(v));
  return act_from_bits(act_to_bits((0.f - m) / (2.f + m)) | (act_to_bits(v) & 0x80000000u));
}
#endif
GAN_LT_FN double act_abs(double v) { return fabs(v); }
GAN_LT_FN double act_exp(double v) { return exp(v); }
GAN_LT_FN double act_expm1(double v) { return expm1(v); }
GAN_LT_FN double act_log1p(double v) { return log1p(v); }
GAN_LT_FN double act_tanh(double v) { return tanh(v); }

template <typename S>
GAN_LT_FN S act_sigmoid(S z) {
  const S e = act_exp(-act_abs(z));
  return (z < S(0) ? e : S(1)) / (S(1) + e);
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
    return (z < S(0) ? S(0) : z) + act_log1p(act_exp(-act_abs(z)));
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
    return z < S(0) ? e : z > S(0) ? S(0) : z;  // NaN stays
  }
  if (A == kSelu) {
    const S e = S(GAN_LT_SELU_ALPHA * GAN_LT_SELU_SCALE) * act_exp(z);
    return z < S(0) ? e : z > S(0) ? S(0) : z;  // NaN stays
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

// dy/dz of epilogue_value; 0 where the output is clamped. LIMITED may be false where the limit is infinite.
template <int A, bool LIMITED = true, typename S>
GAN_LT_FN S epilogue_slope(S z, ActScale<S> p) {
  const S slope = act_slope<A>(z, p.alpha) * p.gain;
  if (!LIMITED) return slope;
  return act_abs(act_value<A>(z, p.alpha) * p.gain) > p.limit ? S(0) : slope;
}

// The same from the output y, for piecewise linear activations with positive gain and alpha >= 0. An output at the limit
// counts as clamped.
template <bool LIMITED = true, typename S>
GAN_LT_FN S epilogue_slope_from_output(S y, S negative_slope, ActScale<S> p) {
  const S slope = y > S(0) ? p.gain : negative_slope * p.gain;
  if (!LIMITED) return slope;
  return act_abs(y) >= p.limit ? S(0) : slope;
}

template <int A, bool LIMITED = true, typename S>
GAN_LT_FN S epilogue_curvature(S z, ActScale<S> p) {
  const S curvature = act_curvature<A>(z) * p.gain;
  if (!LIMITED) return curvature;
  return act_abs(act_value<A>(z, p.alpha) * p.gain) > p.limit ? S(0) : curvature;
}
