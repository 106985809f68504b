// upfirdn2d on the CPU, two passes: weighted sums of input rows into lines that stay in the L1 cache, then a filter along
// the lines. A task is a band of output rows; it takes a few rows at a time, strip by strip from left to right, so that
// memory is read and written in order.
#include <type_traits>

#include "upfirdn2d_columns.h"

namespace gan_lt {
namespace GAN_LT_ISA {

static constexpr int64_t kStrip = 4096;  // values of an input row in a strip
static constexpr int64_t kLines = 6144;  // values in all lines
static constexpr int64_t kBand = 65536;  // output values of a task
static constexpr int64_t kStreamed = 8 << 20;  // bytes of output from which on the caches are passed by

// The input rows that an output row reads, from `input` on (maybe outside the image), the first at tap `tap`.
template <typename S>
struct RowPlan {
  int64_t input, tap;
  const S* weights;  // separable filters
};

// Output columns [left, right) and the line of input pixels [origin, end) they read: the first `kept` values are there from
// the strip before, `body` values from `lead` on come from input pixels from `from` on, the rest lies outside the image.
struct Strip {
  int64_t left, right = 0, origin = 0, end = 0, from, kept, lead, body;

  // The strip after `before`, or a row's first.
  Strip(const UpfirdnArgs& a, int64_t width, int64_t per_run, const Strip* before) : left(before ? before->right : 0) {
    right = left + width < a.out_w ? left + width : a.out_w;
    origin = tap_run<int64_t>(left, a.up_x, a.down_x, a.pad_x).input;
    end = tap_run<int64_t>(right - 1, a.up_x, a.down_x, a.pad_x).input + per_run;
    const int64_t have = before && before->end > origin ? before->end : origin;
    from = have < 0 ? 0 : have;
    const int64_t to = end > a.in_w ? a.in_w : end;
    kept = (have - origin) * a.k;
    lead = to > from ? (from - origin) * a.k : kept;
    body = to > from ? (to - from) * a.k : 0;
  }
};

// How the work is cut, and the same for all tasks: taps and plans.
template <typename T>
struct Upfirdn {
  using S = typename Accumulator<T>::type;
  using Group = void (*)(S*, int64_t, const T* const*, const S*, const S*, int64_t);

  const UpfirdnArgs& a;
  const bool separable;
  const PhaseTable<S> columns;  // one set, or one for each filter row where the filter is not separable
  const PhaseTable<S> row_table;
  const Phases<S> rows;
  const Memory<RowPlan<S>> plans;
  Group group;  // the loop for four output rows at once, or null
  int64_t width, batch, band, bands, pitch, max_rows, in_row;
  bool streams;  // past the caches

  explicit Upfirdn(const UpfirdnArgs& args)
      : a(args),
        separable(a.taps == nullptr),
        columns(separable ? a.taps_x : a.taps, separable ? 1 : a.fh, a.fw, a.up_x),
        row_table(a.taps_y, 1, separable ? a.fh : 0, a.up_y),
        rows(row_table[0]),
        plans(a.out_h) {
    for (int64_t oy = 0; oy < a.out_h; oy++) {
      const auto run = tap_run<int64_t>(oy, a.up_y, a.down_y, a.pad_y);
      plans[oy] = {run.input, run.tap, rows.of(run.tap)};
    }
    group = separable && a.out_h >= 4 ? group_loop() : nullptr;
    const int64_t per_run = columns[0].per_phase;
    width = kStrip * a.up_x / (a.down_x * a.k);
    width = width < 8 ? 8 : width + width % 2;
    width = width >= a.out_w - width / 2 ? a.out_w : width;
    pitch = ((width * a.down_x + a.up_x - 1) / a.up_x + per_run + 2) * a.k;
    pitch = (pitch + 15) / 16 * 16;
    batch = kLines / pitch / 4 * 4;
    batch = batch > a.out_h ? (a.out_h + 3) / 4 * 4 : batch < 4 ? 4 : batch;
    band = kBand / (a.out_w * a.k) / batch * batch;
    band = band < batch ? batch : band;
    band = band > a.out_h ? a.out_h : band;
    bands = (a.out_h + band - 1) / band;
    max_rows = (a.fh + a.up_y - 1) / a.up_y;
    in_row = a.in_w * a.k;
    streams = separable && whole_vectors<T>(a) && reinterpret_cast<uintptr_t>(a.y) % (kLanes * sizeof(T)) == 0 &&
              a.planes * a.out_h * a.out_w * a.k * int64_t(sizeof(T)) >= kStreamed;
  }

  Group group_loop() const {
    const int64_t taps = rows.per_phase;
    if (taps * a.up_y != a.fh) return nullptr;  // a phase has fewer taps
    if (a.up_y == 1 && a.down_y == 1 && taps == 4) return sum_four<4, 1, 2, 3, S, T>;
    if (a.up_y == 1 && a.down_y == 2 && taps == 4) return sum_four<4, 2, 4, 6, S, T>;
    if (a.up_y == 2 && a.down_y == 1 && taps == 2)
      return plans[1].input == plans[0].input ? sum_four<2, 0, 1, 1, S, T> : sum_four<2, 1, 1, 2, S, T>;
    return nullptr;
  }
};

// One thread's buffers, and its tasks.
template <typename T>
struct UpfirdnWorker {
  using S = typename Accumulator<T>::type;
  const Upfirdn<T>& u;
  const UpfirdnArgs& a;
  const Memory<S> buffer, sums;
  const Memory<T> zeros;
  const Memory<const T*> inputs;
  S* const lines;
  bool cleared = false;

  explicit UpfirdnWorker(const Upfirdn<T>& upfirdn)
      : u(upfirdn),
        a(u.a),
        buffer(u.batch * u.pitch + 16),
        sums(u.width * a.k),
        zeros(u.pitch, kZeros),
        inputs(u.max_rows + 16),
        // What comes from the image starts at a cache line's start, so that no store straddles two.
        lines(buffer + (16 - Strip(a, u.width, u.columns[0].per_phase, nullptr).lead % 16) % 16) {}

  void task(int64_t index) {
    const int64_t plane = index / u.bands, top = index % u.bands * u.band;
    const int64_t bottom = top + u.band < a.out_h ? top + u.band : a.out_h;
    const T* x = static_cast<const T*>(a.x) + plane * a.in_h * a.in_w * a.k;
    T* y = static_cast<T*>(a.y) + plane * a.out_h * a.out_w * a.k;
    for (int64_t oy = top; oy < bottom; oy += u.batch) {
      const int64_t count = bottom - oy < u.batch ? bottom - oy : u.batch;
      Strip strip(a, u.width, u.columns[0].per_phase, nullptr);
      for (;;) {
        clear_outside(strip);
        const T* from = x + strip.from * a.k;
        T* to = y + strip.left * a.k;
        u.separable ? separable_rows(strip, from, to, oy, count) : full_rows(strip, from, to, oy, count);
        if (strip.right == a.out_w) break;
        strip = next_strip(strip, count);
      }
    }
  }

  // Lines move on to the next strip.
  Strip next_strip(const Strip& strip, int64_t count) {
    Strip before = strip;
    if (!u.separable) before.end = before.origin;  // its lines are other rows' by now
    const Strip next(a, u.width, u.columns[0].per_phase, &before);
    for (int64_t r = 0; r < count && next.kept; r++) {
      S* line = lines + r * u.pitch;
      memmove(line, line + (next.origin - strip.origin) * a.k, size_t(next.kept) * sizeof(S));
    }
    return next;
  }

  // Outside the image lines are zero, whatever the row.
  void clear_outside(const Strip& strip) {
    if (cleared && u.width == a.out_w) return;
    cleared = true;
    const int64_t values = (strip.end - strip.origin) * a.k, last = strip.lead + strip.body;
    for (int64_t r = 0; r < u.batch; r++) {
      S* line = lines + r * u.pitch;
      memset(line + strip.kept, 0, size_t(strip.lead - strip.kept) * sizeof(S));
      memset(line + last, 0, size_t(values - last) * sizeof(S));
    }
  }

  const T* input_row(const T* x, int64_t row) const {
    return row >= 0 && row < a.in_h ? x + row * u.in_row : zeros;
  }

  void separable_rows(const Strip& strip, const T* x, T* y, int64_t oy, int64_t count) {
    S* body = lines + strip.lead;
    int64_t r = 0;
    for (; u.group && r + 4 <= count; r += 4) {
      const RowPlan<S>* plan = u.plans + oy + r;
      const int64_t reads = plan[3].input + u.rows.per_phase - plan[0].input;
      for (int64_t i = 0; i < reads; i++) inputs[i] = input_row(x, plan[0].input + i);
      u.group(body + r * u.pitch, u.pitch, inputs, plan[0].weights, plan[1].weights, strip.body);
    }
    for (; r < count; r++) {
      const RowPlan<S>& plan = u.plans[oy + r];
      const int64_t reads = (a.fh - plan.tap + a.up_y - 1) / a.up_y;
      for (int64_t i = 0; i < reads; i++) inputs[i] = input_row(x, plan.input + i);
      sum_all_rows<false>(body + r * u.pitch, inputs.get(), plan.weights, reads, strip.body);
    }
    const int64_t out_row = a.out_w * a.k;
    filter_lines<false>(Lines<S, T>{lines, y + oy * out_row, u.pitch, out_row, count, strip.origin, strip.left, strip.right},
                        a, u.columns[0], u.streams);
  }

  // Filters that are no outer product: each of their rows by itself, added up.
  void full_rows(const Strip& strip, const T* x, T* y, int64_t oy, int64_t count) {
    const int64_t values = (strip.right - strip.left) * a.k;
    for (int64_t r = oy; r < oy + count; r++) {
      memset(sums, 0, size_t(values) * sizeof(S));
      for (int64_t t = u.plans[r].tap, row = u.plans[r].input; t < a.fh; t += a.up_y, row++) {
        if (row < 0 || row >= a.in_h) continue;
        const T* input = input_row(x, row);
        for (int64_t i = 0; i < strip.body; i++) lines[strip.lead + i] = read(input[i]);
        filter_lines<true>(Lines<S, S>{lines, sums, u.pitch, values, 1, strip.origin, strip.left, strip.right}, a, u.columns[t]);
      }
      T* out = y + r * a.out_w * a.k;
      for (int64_t i = 0; i < values; i++) write(out + i, sums[i]);
    }
  }
};

template <typename T>
static void upfirdn2d_typed(const UpfirdnArgs& a) {
  const Upfirdn<T> u(a);
  parallel(a.parallel, a.planes * u.bands, 16384 / (a.out_w * u.band * a.k) + 1, [&](int64_t begin, int64_t end) {
    UpfirdnWorker<T> worker(u);
    for (int64_t index = begin; index < end; index++) worker.task(index);
    if (u.streams) stream_end();
  });
}

void upfirdn2d(const UpfirdnArgs& args) {
  with_type(args.dtype, [&](auto* type) { upfirdn2d_typed<std::remove_pointer_t<decltype(type)>>(args); });
}

}  // namespace GAN_LT_ISA
}  // namespace gan_lt
