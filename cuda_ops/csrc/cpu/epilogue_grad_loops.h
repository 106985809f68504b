// The loops of the epilogues' gradient: rows of channels (sums run down the columns) and planes (sums stay in registers).
//
// Piecewise linear activations are one loop. Smooth ones take two over values that are still in the L1 cache: dz by the
// activation's own loop, then the sums and dx. Loops are instantiated without what a call does not need: limits, noise.
#pragma once

#include "epilogue_cut.h"

namespace gan_lt {
namespace GAN_LT_ISA {

// `count` rows of n values, `pitch` apart; demod, base and tangent are vectors along the row, noise has one value a row.
template <typename S>
struct RowsPiece {
  const S *dy, *x;
  S* dx;
  int64_t pitch, count, n;
  const S *demod, *base, *tangent, *noise;
  S strength;
  S *sum_bias, *sum_demod;  // added to
};

template <typename S>
struct PlanePiece {
  const S *dy, *x;
  S* dx;
  int64_t n;
  S demod, base, tangent, strength;
  const S* noise;
};

// What dz = dy * slope comes from.
enum DzSource {
  kFromInput,   // z = x * demod + noise * strength + base
  kFromOutput,  // y itself
  kReady,       // dz stands in place of dx
};

// Slopes of linear and relu are those of lrelu.
template <int SOURCE, bool MODULATED, bool LIMITED, typename S>
static inline S dz_at(S dy, S x, S dx, S demod, S base, S tangent, ActScale<S> p) {
  if (SOURCE == kReady) return dx;
  if (SOURCE == kFromOutput) return (dy + tangent) * epilogue_slope_from_output<LIMITED>(x, p.alpha, p);
  if (MODULATED) return dy * epilogue_slope<kLrelu, LIMITED>(x * demod + base, p);
  return (dy + tangent) * epilogue_slope<kLrelu, LIMITED>(x + base, p);
}

// Returns the sum of dz * noise. Row after row, though the sums then go to the L1 cache and back each time: several rows at
// once would save that, but memory wants to be read in order.
template <int SOURCE, bool MODULATED, bool NOISY, bool LIMITED, typename S>
static S gradient_rows(const RowsPiece<S>& piece, ActScale<S> p) {
  const S* __restrict demod = piece.demod;
  const S* __restrict base = piece.base;
  const S* __restrict tangent = piece.tangent;
  S* __restrict sum_bias = piece.sum_bias;
  S* __restrict sum_demod = piece.sum_demod;
  S sum_noise = 0;
  for (int64_t r = 0; r < piece.count; r++) {
    const S* __restrict dy = piece.dy + r * piece.pitch;
    const S* __restrict x = piece.x + r * piece.pitch;
    S* __restrict dx = piece.dx + r * piece.pitch;
    const S noise = NOISY ? piece.noise[r] : S(0), shift = noise * piece.strength;
    S total = 0;
#pragma omp simd reduction(+ : total)
    for (int64_t i = 0; i < piece.n; i++) {
      const S d = demod[i], b = NOISY ? base[i] + shift : base[i];
      const S dz = dz_at<SOURCE, MODULATED, LIMITED>(dy[i], x[i], dx[i], d, b, tangent[i], p);
      sum_bias[i] += dz;
      if (MODULATED) sum_demod[i] += dz * x[i];
      if (NOISY) total += dz;
      if (MODULATED || SOURCE != kReady) dx[i] = MODULATED ? dz * d : dz;
    }
    sum_noise += total * noise;
  }
  return sum_noise;
}

// Part of a plane; adds to sums[0 .. 3) of dz, dz * x, dz * noise.
template <int SOURCE, bool MODULATED, bool NOISY, bool LIMITED, typename S>
static void gradient_plane(const PlanePiece<S>& piece, ActScale<S> p, S* sums) {
  const S* __restrict dy = piece.dy;
  const S* __restrict x = piece.x;
  const S* __restrict noise = piece.noise;
  S* __restrict dx = piece.dx;
  const S demod = piece.demod, base = piece.base, tangent = piece.tangent, strength = piece.strength;
  S total = 0, total_demod = 0, total_noise = 0;
#pragma omp simd reduction(+ : total, total_demod, total_noise)
  for (int64_t i = 0; i < piece.n; i++) {
    const S dz = dz_at<SOURCE, MODULATED, LIMITED>(dy[i], x[i], dx[i], demod, NOISY ? base + noise[i] * strength : base,
                                                   tangent, p);
    total += dz;
    if (MODULATED) total_demod += dz * x[i];
    if (NOISY) total_noise += dz * noise[i];
    if (MODULATED || SOURCE != kReady) dx[i] = MODULATED ? dz * demod : dz;
  }
  sums[0] += total, sums[1] += total_demod, sums[2] += total_noise;
}

// dx = dz = (dy + tangent) * slope(z) for a smooth activation.
template <int A, bool LIMITED, typename S>
static void smooth_rows(const RowsPiece<S>& piece, ActScale<S> p) {
  const S* __restrict demod = piece.demod;
  const S* __restrict base = piece.base;
  const S* __restrict tangent = piece.tangent;
  for (int64_t r = 0; r < piece.count; r++) {
    const S* __restrict dy = piece.dy + r * piece.pitch;
    const S* __restrict x = piece.x + r * piece.pitch;
    S* __restrict dx = piece.dx + r * piece.pitch;
    const S shift = piece.noise ? piece.noise[r] * piece.strength : S(0);
#pragma omp simd
    for (int64_t i = 0; i < piece.n; i++)
      dx[i] = (dy[i] + tangent[i]) * epilogue_slope<A, LIMITED>(x[i] * demod[i] + (base[i] + shift), p);
  }
}
template <int A, bool LIMITED, typename S>
static void smooth_plane(const PlanePiece<S>& piece, ActScale<S> p) {
  const S* __restrict dy = piece.dy;
  const S* __restrict x = piece.x;
  const S* __restrict noise = piece.noise;
  S* __restrict dx = piece.dx;
  const S demod = piece.demod, base = piece.base, tangent = piece.tangent, strength = piece.strength;
  if (noise) {
#pragma omp simd
    for (int64_t i = 0; i < piece.n; i++)
      dx[i] = (dy[i] + tangent) * epilogue_slope<A, LIMITED>(x[i] * demod + (base + noise[i] * strength), p);
  } else {
#pragma omp simd
    for (int64_t i = 0; i < piece.n; i++)
      dx[i] = (dy[i] + tangent) * epilogue_slope<A, LIMITED>(x[i] * demod + base, p);
  }
}

// The loops that one call needs.
template <typename S>
class GradientLoops {
 public:
  const bool modulated;

  explicit GradientLoops(const EpilogueGradArgs& g)
      : modulated(g.forward.demod || g.forward.noise), limited_(!isinf(g.forward.limit)) {
    const bool noisy = g.forward.noise;
    const auto smooth = [&](auto act) {
      constexpr int A = decltype(act)::value;
      smooth_rows_ = limited_ ? smooth_rows<A, true, S> : smooth_rows<A, false, S>;
      smooth_plane_ = limited_ ? smooth_plane<A, true, S> : smooth_plane<A, false, S>;
    };
    if (!act_is_piecewise_linear(g.forward.act)) {
      with_smooth_act(g.forward.act, smooth);
      noisy ? take<kReady, true, true>() : modulated ? take<kReady, true, false>() : take<kReady, false, false>();
    } else if (g.from_output) {
      take<kFromOutput, false, false>();
    } else {
      noisy ? take<kFromInput, true, true>() : modulated ? take<kFromInput, true, false>() : take<kFromInput, false, false>();
    }
  }

  // Returns the sum of dz * noise.
  S rows(const RowsPiece<S>& piece, ActScale<S> p) const {
    // Pieces that stay in the L1 cache between the loops.
    const int64_t count = piece.count, rows = smooth_rows_ ? kBlock / piece.n + 1 : count;
    S sum = 0;
    for (int64_t done = 0; done < count; done += rows) {
      RowsPiece<S> part = piece;
      part.dy += done * piece.pitch, part.x += done * piece.pitch, part.dx += done * piece.pitch;
      part.noise += part.noise ? done : 0;
      part.count = least(rows, count - done);
      sum += rows_at_once(part, p);
    }
    return sum;
  }
  void plane(const PlanePiece<S>& piece, ActScale<S> p, S* sums) const {
    if (smooth_plane_) smooth_plane_(piece, p);
    plane_(piece, p, sums);
  }

 private:
  const bool limited_;
  decltype(&gradient_rows<kReady, false, false, false, S>) rows_ = nullptr;
  decltype(&gradient_plane<kReady, false, false, false, S>) plane_ = nullptr;
  decltype(&smooth_rows<kSwish, false, S>) smooth_rows_ = nullptr;
  decltype(&smooth_plane<kSwish, false, S>) smooth_plane_ = nullptr;

  template <int SOURCE, bool MODULATED, bool NOISY>
  void take() {
    rows_ = gradient_rows<SOURCE, MODULATED, NOISY, false, S>;
    plane_ = gradient_plane<SOURCE, MODULATED, NOISY, false, S>;
    if (SOURCE == kReady || !limited_) return;
    rows_ = gradient_rows<SOURCE, MODULATED, NOISY, SOURCE != kReady, S>;
    plane_ = gradient_plane<SOURCE, MODULATED, NOISY, SOURCE != kReady, S>;
  }
  S rows_at_once(const RowsPiece<S>& piece, ActScale<S> p) const {
    if (smooth_rows_) smooth_rows_(piece, p);
    return rows_(piece, p);
  }
};

}  // namespace GAN_LT_ISA
}  // namespace gan_lt
