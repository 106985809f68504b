// upfirdn2d on the CPU. Each output row is a weighted sum of input rows (contiguous, so it vectorises in both layouts),
// then a one-dimensional filter along the row. Rows run in parallel.
#include <stdlib.h>

#include <type_traits>

#include "../upfirdn2d_math.h"
#include "numbers.h"

namespace gan_lt {
namespace GAN_LT_ISA {

// Values of a strip of a row: five such strips fit the L1 cache together.
static constexpr int64_t kStrip = 1024;

// sum[i] = weights[0] * rows[0][i] + ...; COUNT rows, added to sum where ADD.
template <int COUNT, bool ADD, typename S, typename T>
static void sum_rows(S* __restrict sum, const T* const* rows, const S* weights, int64_t n) {
  const T* __restrict r0 = rows[0];
  const T* __restrict r1 = rows[COUNT > 1 ? 1 : 0];
  const T* __restrict r2 = rows[COUNT > 2 ? 2 : 0];
  const T* __restrict r3 = rows[COUNT > 3 ? 3 : 0];
  const S w0 = weights[0], w1 = weights[COUNT > 1 ? 1 : 0];
  const S w2 = weights[COUNT > 2 ? 2 : 0], w3 = weights[COUNT > 3 ? 3 : 0];
  for (int64_t i = 0; i < n; i++) {
    S v = w0 * read(r0[i]);
    if (COUNT > 1) v += w1 * read(r1[i]);
    if (COUNT > 2) v += w2 * read(r2[i]);
    if (COUNT > 3) v += w3 * read(r3[i]);
    sum[i] = ADD ? sum[i] + v : v;
  }
}

template <bool ADD, typename S, typename T>
static void sum_some_rows(S* sum, const T* const* rows, const S* weights, int64_t count, int64_t n) {
  switch (count) {
    case 1: return sum_rows<1, ADD>(sum, rows, weights, n);
    case 2: return sum_rows<2, ADD>(sum, rows, weights, n);
    case 3: return sum_rows<3, ADD>(sum, rows, weights, n);
    default: return sum_rows<4, ADD>(sum, rows, weights, n);
  }
}

template <typename S, typename T>
static void sum_all_rows(S* sum, const T* const* rows, const S* weights, int64_t count, int64_t n) {
  if (count == 0) {
    memset(sum, 0, size_t(n) * sizeof(S));
    return;
  }
  sum_some_rows<false>(sum, rows, weights, count < 4 ? count : 4, n);
  for (int64_t done = 4; done < count; done += 4)
    sum_some_rows<true>(sum, rows + done, weights + done, count - done < 4 ? count - done : 4, n);
}

// out[i] = taps[0] * in[i] + taps[1] * in[i + step] + ... for n values; COUNT taps, or `count` where COUNT is 0.
template <int COUNT, bool ADD, typename S, typename T>
static void fir(T* __restrict out, const S* __restrict in, const S* taps, int64_t count, int64_t step, int64_t n) {
  const int64_t m = COUNT > 0 ? COUNT : count;
  S w[COUNT > 0 ? COUNT : 1];
  if (COUNT > 0)
    for (int64_t t = 0; t < m; t++) w[t] = taps[t];
  if (COUNT > 0) {
    for (int64_t i = 0; i < n; i++) {
      S v = ADD ? S(read(out[i])) : S(0);
      for (int64_t t = 0; t < COUNT; t++) v += w[t] * in[i + t * step];
      write(out + i, v);
    }
    return;
  }
  constexpr int64_t kBlock = 64;
  S block[kBlock];
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t size = n - begin < kBlock ? n - begin : kBlock;
    for (int64_t i = 0; i < size; i++) block[i] = ADD ? S(read(out[begin + i])) : S(0);
    for (int64_t t = 0; t < m; t++)
      for (int64_t i = 0; i < size; i++) block[i] += taps[t] * in[begin + i + t * step];
    for (int64_t i = 0; i < size; i++) write(out + begin + i, block[i]);
  }
}

template <bool ADD, typename S, typename T>
static void fir_any(T* out, const S* in, const S* taps, int64_t count, int64_t step, int64_t n) {
  switch (count) {
    case 1: return fir<1, ADD>(out, in, taps, count, step, n);
    case 2: return fir<2, ADD>(out, in, taps, count, step, n);
    case 4: return fir<4, ADD>(out, in, taps, count, step, n);
    default: return fir<0, ADD>(out, in, taps, count, step, n);
  }
}

// One value a pixel, down 2: out[i] = sum_t taps[t] * in[2 i + t].
template <int COUNT, bool ADD, typename S, typename T>
static void fir_halving(T* __restrict out, const S* __restrict in, const S* taps, int64_t n) {
  S w[COUNT];
  for (int t = 0; t < COUNT; t++) w[t] = taps[t];
  for (int64_t i = 0; i < n; i++) {
    S v = ADD ? S(read(out[i])) : S(0);
    for (int t = 0; t < COUNT; t++) v += w[t] * in[2 * i + t];
    write(out + i, v);
  }
}

// One value a pixel, up 2, two taps a phase: pairs of outputs from in[i .. i + 2].
template <bool ADD, typename S, typename T>
static void fir_doubling(T* __restrict out, const S* __restrict a, const S* __restrict b, const S* taps_a, const S* taps_b,
                         int64_t pairs) {
  const S a0 = taps_a[0], a1 = taps_a[1], b0 = taps_b[0], b1 = taps_b[1];
  for (int64_t i = 0; i < pairs; i++) {
    const S even = a0 * a[i] + a1 * a[i + 1];
    const S odd = b0 * b[i] + b1 * b[i + 1];
    write(out + 2 * i, ADD ? S(read(out[2 * i])) + even : even);
    write(out + 2 * i + 1, ADD ? S(read(out[2 * i + 1])) + odd : odd);
  }
}

// Uninitialised values at a cache line's start: loads that straddle two lines cost twice.
template <typename S>
static S* allocate_aligned(int64_t n) {
  return static_cast<S*>(aligned_alloc(64, (size_t(n) * sizeof(S) + 63) / 64 * 64));
}

// One axis' plan: taps of each phase made dense, so that a run of `per_phase` taps reads consecutive inputs.
template <typename S>
struct Phases {
  int64_t per_phase;
  S* dense;  // [up, per_phase]; dense[phase] are taps phase, phase + up, ..., padded with zeros

  Phases(const double* taps, int64_t size, int64_t up) : per_phase((size + up - 1) / up) {
    dense = static_cast<S*>(calloc(size_t(up * per_phase), sizeof(S)));
    for (int64_t t = 0; t < size; t++) dense[(t % up) * per_phase + t / up] = S(taps[t]);
  }
  ~Phases() { free(dense); }
  Phases(const Phases&) = delete;
  Phases& operator=(const Phases&) = delete;
  const S* of(int64_t phase) const { return dense + phase * per_phase; }
};

// Filters along a row: outputs [begin, end) from `in`, whose element 0 is input pixel `origin`.
template <bool ADD, typename S, typename T>
static void filter_row(T* out, const S* in, int64_t origin, const Phases<S>& phases, const UpfirdnArgs& a, int64_t begin,
                       int64_t end) {
  const int64_t m = phases.per_phase, k = a.k, up = a.up_x, down = a.down_x;
  const auto at = [&](int64_t o) { return tap_run<int64_t>(o, up, down, a.pad_x); };
  if (up == 1 && down == 1)
    return fir_any<ADD>(out, in + (begin - a.pad_x - origin) * k, phases.of(0), m, k, (end - begin) * k);
  if (k == 1 && up == 1 && down == 2 && (m == 4 || m == 2)) {
    const S* source = in + (2 * begin - a.pad_x - origin);
    return m == 4 ? fir_halving<4, ADD>(out, source, phases.of(0), end - begin)
                  : fir_halving<2, ADD>(out, source, phases.of(0), end - begin);
  }
  int64_t o = begin;
  if (k == 1 && up == 2 && down == 1 && m == 2) {
    const auto first = at(begin), second = at(begin + 1);
    fir_doubling<ADD>(out, in + (first.input - origin), in + (second.input - origin), phases.of(first.tap),
                      phases.of(second.tap), (end - begin) / 2);
    o = end - (end - begin) % 2;
  }
  for (; o < end; o++) {
    const auto run = at(o);
    const S* source = in + (run.input - origin) * k;
    T* target = out + (o - begin) * k;
    const S* taps = phases.of(run.tap);
    if (k >= 8) {
      fir_any<ADD>(target, source, taps, m, k, k);
    } else {
      for (int64_t c = 0; c < k; c++) {
        S v = ADD ? S(read(target[c])) : S(0);
        for (int64_t t = 0; t < m; t++) v += taps[t] * source[c + t * k];
        write(target + c, v);
      }
    }
  }
}

// The input rows that an output row reads: `count` from `top` on, with `weights` (separable), the first at tap `tap`.
template <typename S>
struct RowPlan {
  int64_t top, count, tap;
  const S* weights;
};

template <typename S>
static void plan_rows(RowPlan<S>* plans, const UpfirdnArgs& a, const Phases<S>& rows) {
  for (int64_t oy = 0; oy < a.out_h; oy++) {
    const auto run = tap_run<int64_t>(oy, a.up_y, a.down_y, a.pad_y);
    const int64_t taps_here = (a.fh - run.tap + a.up_y - 1) / a.up_y;
    const int64_t skipped = run.input < 0 ? -run.input : 0;
    const int64_t top = run.input + skipped;
    int64_t count = taps_here - skipped;
    count = count > a.in_h - top ? a.in_h - top : count;
    count = count < 0 ? 0 : count;
    plans[oy] = {top, count, run.tap + skipped * a.up_y, rows.of(run.tap) + skipped};
  }
}

// A range [left, right) of output columns and the input pixels [origin, origin + span) they read, of which those from
// `from` on, `body` values after `lead`, lie in the image.
struct Strip {
  int64_t left, right, origin, from, lead, body, values;

  Strip(const UpfirdnArgs& a, int64_t left_, int64_t right_, int64_t per_run) : left(left_), right(right_) {
    origin = tap_run<int64_t>(left, a.up_x, a.down_x, a.pad_x).input;
    const int64_t span = tap_run<int64_t>(right - 1, a.up_x, a.down_x, a.pad_x).input + per_run - origin;
    from = origin < 0 ? 0 : origin;
    const int64_t to = origin + span > a.in_w ? a.in_w : origin + span;
    const bool any = to > from;
    lead = (any ? from - origin : span) * a.k;
    body = any ? (to - from) * a.k : 0;
    values = span * a.k;
  }
};

template <typename T>
static void upfirdn2d_typed(const UpfirdnArgs& a) {
  using S = typename Accumulator<T>::type;
  const T* x = static_cast<const T*>(a.x);
  T* y = static_cast<T*>(a.y);
  const bool separable = a.taps == nullptr;
  // Column taps: one set, or one for each filter row where the filter is not separable.
  const int64_t sets = separable ? 1 : a.fh;
  const Phases<S>** columns = static_cast<const Phases<S>**>(malloc(size_t(sets) * sizeof(void*)));
  for (int64_t t = 0; t < sets; t++)
    columns[t] = new Phases<S>(separable ? a.taps_x : a.taps + t * a.fw, a.fw, a.up_x);
  const Phases<S> rows(a.taps_y, separable ? a.fh : 0, a.up_y);
  RowPlan<S>* plans = static_cast<RowPlan<S>*>(malloc(size_t(a.out_h) * sizeof(RowPlan<S>)));
  plan_rows(plans, a, rows);

  // Strips so narrow that the rows an output row reads stay in the L1 cache for the next one; bands of output rows.
  const int64_t per_run = columns[0]->per_phase;
  int64_t width = kStrip * a.up_x / (a.down_x * a.k);
  width = width < 8 ? 8 : width + width % 2;
  width = width >= a.out_w - width / 2 ? a.out_w : width;
  const int64_t strips = (a.out_w + width - 1) / width;
  int64_t band = 2 * kStrip * 8 / (width * a.k);
  band = band < 4 ? 4 : band > a.out_h ? a.out_h : band;
  const int64_t bands = (a.out_h + band - 1) / band;
  const int64_t max_values = ((width * a.down_x + a.up_x - 1) / a.up_x + per_run + 2) * a.k;
  const int64_t max_rows = (a.fh + a.up_y - 1) / a.up_y;

  parallel(a.parallel, a.planes * bands * strips, 16384 / (width * band * a.k) + 1, [&](int64_t begin, int64_t end) {
    S* line = allocate_aligned<S>(max_values);
    S* sum = allocate_aligned<S>(width * a.k);
    const T** inputs = static_cast<const T**>(malloc(size_t(max_rows) * sizeof(void*)));
    for (int64_t task = begin; task < end; task++) {
      const int64_t plane = task / (bands * strips), rest = task % (bands * strips);
      const int64_t top_row = rest / strips * band, left = rest % strips * width;
      const int64_t last_row = top_row + band < a.out_h ? top_row + band : a.out_h;
      const Strip strip(a, left, left + width < a.out_w ? left + width : a.out_w, per_run);
      // Outside the image the line stays zero for all rows.
      memset(line, 0, size_t(strip.lead) * sizeof(S));
      memset(line + strip.lead + strip.body, 0, size_t(strip.values - strip.lead - strip.body) * sizeof(S));
      for (int64_t oy = top_row; oy < last_row; oy++) {
        const RowPlan<S>& plan = plans[oy];
        const int64_t values = (strip.right - strip.left) * a.k;
        const T* first = x + ((plane * a.in_h + plan.top) * a.in_w + strip.from) * a.k;
        for (int64_t r = 0; r < plan.count; r++) inputs[r] = first + r * a.in_w * a.k;
        T* out = y + ((plane * a.out_h + oy) * a.out_w + strip.left) * a.k;
        if (separable) {
          sum_all_rows(line + strip.lead, inputs, plan.weights, plan.count, strip.body);
          filter_row<false>(out, line, strip.origin, *columns[0], a, strip.left, strip.right);
          continue;
        }
        memset(sum, 0, size_t(values) * sizeof(S));
        for (int64_t r = 0; r < plan.count; r++) {
          for (int64_t i = 0; i < strip.body; i++) line[strip.lead + i] = read(inputs[r][i]);
          filter_row<true>(sum, line, strip.origin, *columns[plan.tap + r * a.up_y], a, strip.left, strip.right);
        }
        for (int64_t i = 0; i < values; i++) write(out + i, sum[i]);
      }
    }
    free(inputs);
    free(sum);
    free(line);
  });
  free(plans);
  for (int64_t t = 0; t < sets; t++) delete columns[t];
  free(columns);
}

void upfirdn2d(const UpfirdnArgs& args) {
  with_type(args.dtype, [&](auto* type) { upfirdn2d_typed<std::remove_pointer_t<decltype(type)>>(args); });
}

}  // namespace GAN_LT_ISA
}  // namespace gan_lt
