// upfirdn2d's pass along the rows: filters lines of S that lie in the L1 cache and writes output rows.
#pragma once

#include <type_traits>

#include "../upfirdn2d_math.h"
#include "streaming.h"
#include "weighted_sums.h"

namespace gan_lt {
namespace GAN_LT_ISA {

// One axis' taps by phase, made dense, so that a run of `per_phase` taps reads consecutive inputs.
template <typename S>
struct Phases {
  int64_t per_phase;
  const S* dense;  // [up, per_phase]; dense[phase] are taps phase, phase + up, ..., padded with zeros

  const S* of(int64_t phase) const { return dense + phase * per_phase; }
};

// The phases of `sets` rows of taps [sets, size].
template <typename S>
class PhaseTable {
 public:
  PhaseTable(const double* taps, int64_t sets, int64_t size, int64_t up)
      : per_phase_((size + up - 1) / up), per_set_(up * per_phase_), dense_(sets * per_set_, kZeros) {
    for (int64_t s = 0; s < sets; s++)
      for (int64_t t = 0; t < size; t++) dense_[s * per_set_ + (t % up) * per_phase_ + t / up] = S(taps[s * size + t]);
  }
  Phases<S> operator[](int64_t set) const { return {per_phase_, dense_ + set * per_set_}; }

 private:
  int64_t per_phase_, per_set_;
  Memory<S> dense_;
};

// Lines, `pitch` apart, whose element 0 is input pixel `origin`, and where their outputs [left, right) go.
template <typename S, typename T>
struct Lines {
  const S* in;
  T* out;
  int64_t pitch, out_pitch, rows, origin, left, right;
};

// Eight floats anywhere in memory; compilers split them up where registers are narrower.
typedef float Eight __attribute__((vector_size(32), aligned(4), may_alias));

// The loops below are not inlined: in one function with all their callers, the registers do not go round.
#define GAN_LT_LOOP __attribute__((noinline)) static

// up 1, down 1: one sum along the row.
template <int COUNT, bool ADD, typename S, typename T>
GAN_LT_LOOP void filter_same(const Lines<S, T>& lines, const UpfirdnArgs& a, const S* taps) {
  const int64_t n = (lines.right - lines.left) * a.k, k = a.k;
  S w[COUNT];
  for (int t = 0; t < COUNT; t++) w[t] = taps[t];
  for (int64_t r = 0; r < lines.rows; r++) {
    const S* __restrict in = lines.in + r * lines.pitch;
    T* __restrict out = lines.out + r * lines.out_pitch;
    for (int64_t i = 0; i < n; i++) {
      S v = ADD ? S(read(out[i])) : S(0);
      for (int t = 0; t < COUNT; t++) v += w[t] * in[i + t * k];
      write(out + i, v);
    }
  }
}

// One value a pixel, down 2: out[i] = sum_t taps[t] * in[2 i + t].
template <int COUNT, bool ADD, typename S, typename T>
GAN_LT_LOOP void filter_halving(const Lines<S, T>& lines, const S* taps) {
  const int64_t n = lines.right - lines.left;
  S w[COUNT];
  for (int t = 0; t < COUNT; t++) w[t] = taps[t];
  for (int64_t r = 0; r < lines.rows; r++) {
    const S* __restrict in = lines.in + r * lines.pitch;
    T* __restrict out = lines.out + r * lines.out_pitch;
    int64_t i = 0;
#if defined(__clang__) || __GNUC__ >= 12
    if constexpr (std::is_same_v<T, float> && COUNT % 2 == 0) {
      for (; i + 8 <= n; i += 8) {
        Eight v = {};
        for (int t = 0; t < COUNT; t += 2) {
          const Eight* source = reinterpret_cast<const Eight*>(in + 2 * i + t);
          // Even and odd values in an order that takes one instruction, put right once at the end.
          v += w[t] * __builtin_shufflevector(source[0], source[1], 0, 2, 8, 10, 4, 6, 12, 14);
          v += w[t + 1] * __builtin_shufflevector(source[0], source[1], 1, 3, 9, 11, 5, 7, 13, 15);
        }
        Eight* target = reinterpret_cast<Eight*>(out + i);
        v = __builtin_shufflevector(v, v, 0, 1, 4, 5, 2, 3, 6, 7);
        *target = ADD ? *target + v : v;
      }
    }
#endif
    for (; i < n; i++) {
      S v = ADD ? S(read(out[i])) : S(0);
      for (int t = 0; t < COUNT; t++) v += w[t] * in[2 * i + t];
      write(out + i, v);
    }
  }
}

// One value a pixel, up 2, two taps a phase: pairs of outputs, the second `shift` (0 or 1) inputs after the first.
template <bool ADD, typename S, typename T>
GAN_LT_LOOP void filter_doubling(const Lines<S, T>& lines, const S* taps_a, const S* taps_b, int64_t shift) {
  const S a0 = taps_a[0], a1 = taps_a[1], b0 = taps_b[0], b1 = taps_b[1];
  const int64_t size = lines.right - lines.left;
  for (int64_t r = 0; r < lines.rows; r++) {
    const S* __restrict a = lines.in + r * lines.pitch;
    const S* __restrict b = a + shift;
    T* __restrict out = lines.out + r * lines.out_pitch;
    for (int64_t i = 0; i < size / 2; i++) {
      const S even = a0 * a[i] + a1 * a[i + 1];
      const S odd = b0 * b[i] + b1 * b[i + 1];
      write(out + 2 * i, ADD ? S(read(out[2 * i])) + even : even);
      write(out + 2 * i + 1, ADD ? S(read(out[2 * i + 1])) + odd : odd);
    }
    if (size % 2) {
      const S last = a0 * a[size / 2] + a1 * a[size / 2 + 1];
      write(out + size - 1, ADD ? S(read(out[size - 1])) + last : last);
    }
  }
}

// out[c] = sum_t taps[t] * source[c + t * k] for n values, whole vectors.
template <int COUNT, bool STREAM, typename T>
static inline void filter_vectors(const float* source, const float* taps, T* out, int64_t n, int64_t k) {
  float w[COUNT];
  for (int t = 0; t < COUNT; t++) w[t] = taps[t];
  for (int64_t c = 0; c < n; c += kLanes) {
    Vec v = w[0] * load_vec(source + c);
#pragma GCC unroll 4
    for (int t = 1; t < COUNT; t++) v += w[t] * load_vec(source + c + t * k);
    if (STREAM)
      stream_vec(out + c, v);
    else
      store_vec(out + c, v);
  }
}

// Channels that fill whole vectors, COUNT taps for every output pixel.
template <int COUNT, bool STREAM, typename T>
GAN_LT_LOOP void filter_channels(const Lines<float, T>& lines, const UpfirdnArgs& a, const Phases<float>& phases) {
  const int64_t k = a.k;
  for (int64_t r = 0; r < lines.rows; r++) {
    const float* in = lines.in + r * lines.pitch;
    T* out = lines.out + r * lines.out_pitch;
    auto run = tap_run<int64_t>(lines.left, a.up_x, a.down_x, a.pad_x);
    if (a.up_x == 1 && a.down_x == 1) {  // all pixels in one
      const float* source = in + (run.input - lines.origin) * k;
      filter_vectors<COUNT, STREAM>(source, phases.of(0), out, (lines.right - lines.left) * k, k);
      continue;
    }
    for (int64_t o = lines.left; o < lines.right; o++, out += k) {
      filter_vectors<COUNT, STREAM>(in + (run.input - lines.origin) * k, phases.of(run.tap), out, k, k);
      run.tap -= a.down_x;
      while (run.tap < 0) run.tap += a.up_x, run.input++;
    }
  }
}

// Whether filter_channels has a loop for a call.
template <typename T>
static inline bool whole_vectors(const UpfirdnArgs& a) {
  return (std::is_same_v<T, float> || std::is_same_v<T, BFloat16>) && a.k % kLanes == 0 &&
         (a.fw == 4 * a.up_x || a.fw == 2 * a.up_x);
}

template <bool STREAM, typename T>
static void filter_whole_vectors(const Lines<float, T>& lines, const UpfirdnArgs& a, const Phases<float>& phases) {
  phases.per_phase == 4 ? filter_channels<4, STREAM>(lines, a, phases) : filter_channels<2, STREAM>(lines, a, phases);
}

// Any factors, pixel by pixel, each a sum along its k channels.
template <bool ADD, typename S, typename T>
GAN_LT_LOOP void filter_pixels(const Lines<S, T>& lines, const UpfirdnArgs& a, const Phases<S>& phases) {
  const int64_t k = a.k;
  const Memory<const S*> sources(phases.per_phase);
  for (int64_t r = 0; r < lines.rows; r++) {
    const S* in = lines.in + r * lines.pitch;
    T* out = lines.out + r * lines.out_pitch;
    auto run = tap_run<int64_t>(lines.left, a.up_x, a.down_x, a.pad_x);
    for (int64_t o = lines.left; o < lines.right; o++, out += k) {
      const int64_t count = (a.fw - run.tap + a.up_x - 1) / a.up_x;
      const S* source = in + (run.input - lines.origin) * k;
      const S* taps = phases.of(run.tap);
      if (k < 8) {
        for (int64_t c = 0; c < k; c++) {
          S v = ADD ? S(read(out[c])) : S(0);
          for (int64_t t = 0; t < count; t++) v += taps[t] * source[c + t * k];
          write(out + c, v);
        }
      } else {
        for (int64_t t = 0; t < count; t++) sources[t] = source + t * k;
        sum_all_rows<ADD>(out, sources.get(), taps, count, k);
      }
      // The next run starts `down` further in the zero-inserted image, at the first input from there on.
      run.tap -= a.down_x;
      while (run.tap < 0) run.tap += a.up_x, run.input++;
    }
  }
}

// Filters lines with whichever of the above fits; `stream`: past the caches, where whole_vectors.
template <bool ADD, typename S, typename T>
static void filter_lines(const Lines<S, T>& lines, const UpfirdnArgs& a, const Phases<S>& phases, bool stream = false) {
  const int64_t count = phases.per_phase;
  if constexpr (!ADD && (std::is_same_v<T, float> || std::is_same_v<T, BFloat16>)) {
    if (whole_vectors<T>(a))
      return stream ? filter_whole_vectors<true>(lines, a, phases) : filter_whole_vectors<false>(lines, a, phases);
  }
  if (a.up_x == 1 && a.down_x == 1) {
    switch (count) {
      case 1: return filter_same<1, ADD>(lines, a, phases.of(0));
      case 2: return filter_same<2, ADD>(lines, a, phases.of(0));
      case 3: return filter_same<3, ADD>(lines, a, phases.of(0));
      case 4: return filter_same<4, ADD>(lines, a, phases.of(0));
    }
  }
  if (a.k == 1 && a.up_x == 1 && a.down_x == 2) {
    if (count == 2) return filter_halving<2, ADD>(lines, phases.of(0));
    if (count == 4) return filter_halving<4, ADD>(lines, phases.of(0));
  }
  if (a.k == 1 && a.up_x == 2 && a.down_x == 1 && a.fw == 4) {
    const auto first = tap_run<int64_t>(lines.left, 2, 1, a.pad_x), second = tap_run<int64_t>(lines.left + 1, 2, 1, a.pad_x);
    return filter_doubling<ADD>(lines, phases.of(first.tap), phases.of(second.tap), second.input - first.input);
  }
  filter_pixels<ADD>(lines, a, phases);
}

}  // namespace GAN_LT_ISA
}  // namespace gan_lt
