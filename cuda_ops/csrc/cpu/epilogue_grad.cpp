// The epilogues' gradient on the CPU, with the sums for bias, demodulation and noise strength in the same pass.
#include "epilogue_cut.h"

namespace gan_lt {
namespace GAN_LT_ISA {

static constexpr int kRows = 2;                           // rows taken together where sums run down the columns
static constexpr int64_t kColumns = kBlock / kRows;

// What the slope is computed from, and which sums are kept.
enum GradKind {
  kFromInput,   // z = x + bias; sum of dz
  kFromOutput,  // y itself; sum of dz
  kModulated,   // z = x * demod + noise * strength + bias; sums of dz, dz * x and dz * noise
};

// Relu's slopes are those of lrelu with alpha 0.
template <int KIND, typename S>
static inline S slope_at(S x, S demod, S base, ActScale<S> p) {
  if (KIND == kFromOutput) return epilogue_slope_from_output(x, p.alpha, p);
  return epilogue_slope<kLrelu>(KIND == kModulated ? x * demod + base : x + base, p);
}

// One value: dx, with what it adds to the sums.
template <int KIND, typename S>
static inline S gradient_step(S dy, S x, S demod, S base, S noise, ActScale<S> p, S& total, S& total_demod, S& total_noise) {
  const S d = dy * slope_at<KIND>(x, demod, base, p);
  total += d;
  if (KIND != kModulated) return d;
  total_demod += d * x;
  total_noise += d * noise;
  return d * demod;
}

// `groups` times ROWS (1 or 2) rows of n values, each `pitch` after the last: sums[0], sums[stride], sums[2 * stride] run down
// the columns. The rows are written out: a loop over them would be vectorised itself, instead of that over the columns.
template <int KIND, int ROWS, typename S>
static void gradient_rows(const S* dy, const S* x, const S* __restrict demod, const S* __restrict base,
                          const S* __restrict tangent, const S* noise, S strength, S* dx, int64_t pitch, int64_t groups,
                          S* sums, int64_t stride, int64_t n, ActScale<S> p) {
  S* __restrict sum_bias = sums;
  S* __restrict sum_demod = sums + stride;
  S* __restrict sum_noise = sums + 2 * stride;
  for (int64_t g = 0; g < groups; g++) {
    const int64_t at = g * ROWS * pitch;
    const S* __restrict dy0 = dy + at;
    const S* __restrict dy1 = dy0 + (ROWS - 1) * pitch;
    const S* __restrict x0 = x + at;
    const S* __restrict x1 = x0 + (ROWS - 1) * pitch;
    S* __restrict dx0 = dx + at;
    S* __restrict dx1 = dx0 + (ROWS - 1) * pitch;
    const S noise0 = noise ? noise[g * ROWS] : S(0), noise1 = noise ? noise[g * ROWS + ROWS - 1] : S(0);
    const S z0 = noise0 * strength, z1 = noise1 * strength;
#pragma omp simd
    for (int64_t i = 0; i < n; i++) {
      S total = sum_bias[i], total_demod = 0, total_noise = 0;
      if (KIND == kModulated) total_demod = sum_demod[i], total_noise = sum_noise[i];
      const S d = demod[i], b = base[i], t = tangent[i];
      dx0[i] = gradient_step<KIND>(dy0[i] + t, x0[i], d, b + z0, noise0, p, total, total_demod, total_noise);
      if (ROWS > 1)
        dx1[i] = gradient_step<KIND>(dy1[i] + t, x1[i], d, b + z1, noise1, p, total, total_demod, total_noise);
      sum_bias[i] = total;
      if (KIND == kModulated) sum_demod[i] = total_demod, sum_noise[i] = total_noise;
    }
  }
}

// Part of a plane: sums[0 .. 3) of dz, dz * x, dz * noise.
template <int KIND, typename S>
static void gradient_plane(const S* dy, const S* x, S demod, S base, S tangent, const S* noise, S strength, S* dx, S* sums,
                           int64_t n, ActScale<S> p) {
  S total = 0, total_demod = 0, total_noise = 0;
  if (KIND == kModulated && noise) {
#pragma omp simd reduction(+ : total, total_demod, total_noise)
    for (int64_t i = 0; i < n; i++) {
      const S d = (dy[i] + tangent) * slope_at<KIND>(x[i], demod, base + noise[i] * strength, p);
      dx[i] = d * demod;
      total += d;
      total_demod += d * x[i];
      total_noise += d * noise[i];
    }
  } else {
#pragma omp simd reduction(+ : total, total_demod)
    for (int64_t i = 0; i < n; i++) {
      const S d = (dy[i] + tangent) * slope_at<KIND>(x[i], demod, base, p);
      dx[i] = d * demod;
      total += d;
      if (KIND == kModulated) total_demod += d * x[i];
    }
  }
  sums[0] += total, sums[1] += total_demod, sums[2] += total_noise;
}

template <typename S>
struct GradientLoops {
  decltype(&gradient_rows<kFromInput, 1, S>) rows, row;
  decltype(&gradient_plane<kFromInput, S>) plane;

  template <int KIND>
  static GradientLoops of() {
    return {gradient_rows<KIND, kRows, S>, gradient_rows<KIND, 1, S>, gradient_plane<KIND, S>};
  }
};

// out = (dy + tangent) * slope(z), `tangent` a vector or, where that is null, one value. The rest of the gradient is then
// that of the identity.
template <int A, typename S>
static void smooth_gradient(const S* dy, const S* tangent, S one_tangent, const S* z, S* out, int64_t n, ActScale<S> p) {
  if (tangent) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) out[i] = (dy[i] + tangent[i]) * epilogue_slope<A>(z[i], p);
  } else {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) out[i] = (dy[i] + one_tangent) * epilogue_slope<A>(z[i], p);
  }
}

// Adds the tasks' partial sums [tasks, 3, width] up, in order, in double.
template <typename S>
static void add_partial_sums(const EpilogueGradArgs& g, const Cut& cut, const S* partial) {
  const int64_t c = cut.channels, width = cut.channels_last ? c : 1;
  double* bias = allocate_zeros<double>(c);
  double* demod = allocate_zeros<double>(cut.samples * c);
  double strength = 0;
  for (int64_t t = 0; t < cut.tasks; t++) {
    const int64_t first = t / cut.chunks * width;  // of [samples, channels]
    const S* sums = partial + t * 3 * width;
    double* bias_here = bias + first % c;
    for (int64_t i = 0; i < width; i++) bias_here[i] += sums[i];
    if (g.d_demod)
      for (int64_t i = 0; i < width; i++) demod[first + i] += sums[width + i];
    if (g.d_strength)
      for (int64_t i = 0; i < width; i++) strength += sums[2 * width + i];
  }
  if (g.d_bias)
    for (int64_t i = 0; i < c; i++) static_cast<S*>(g.d_bias)[i] = S(bias[i]);
  if (g.d_demod)
    for (int64_t i = 0; i < cut.samples * c; i++) static_cast<S*>(g.d_demod)[i] = S(demod[i]);
  if (g.d_strength) *static_cast<S*>(g.d_strength) = S(strength);
  free(demod);
  free(bias);
}

// A finished piece of a row to the tensor, whatever its type.
template <typename S, typename T>
static void copy_out(T* target, const S* buffer, int64_t n) {
  for (int64_t i = 0; i < n; i++) write(target + i, buffer[i]);
}

template <typename T>
static void gradient(const EpilogueGradArgs& g) {
  using S = typename Accumulator<T>::type;
  using Loops = GradientLoops<S>;
  const EpilogueArgs& a = g.forward;
  const bool modulated = a.demod || a.noise, smooth = !act_is_piecewise_linear(a.act);
  decltype(&smooth_gradient<kSwish, S>) smooth_loop = nullptr;
  with_smooth_act(a.act, [&](auto number) { smooth_loop = smooth_gradient<decltype(number)::value, S>; });
  const Loops loops = modulated       ? Loops::template of<kModulated>()
                      : g.from_output ? Loops::template of<kFromOutput>()
                                      : Loops::template of<kFromInput>();
  const ActScale<S> p = loop_scale<S>(a), scale = act_scale<S>(a), identity{S(1), S(1), S(INFINITY)};
  const Cut cut(a);
  const S* demods = static_cast<const S*>(a.demod);
  const S* bias = static_cast<const S*>(a.bias);
  const S* tangent_bias = static_cast<const S*>(g.tangent_bias);
  const T *x = static_cast<const T*>(a.x), *dy = static_cast<const T*>(g.dy);
  T* dx = static_cast<T*>(g.dx);
  const S strength = S(a.strength);
  const int64_t width = cut.channels_last ? cut.channels : 1;
  S* partial = allocate_zeros<S>(cut.tasks * 3 * width);

  const auto plane_task = [&](const Task& task, const S* noise, S (*buffers)[kBlock], S* sums) {
    const S d = demods ? demods[task.sample * cut.channels + task.channel] : S(1);
    const S b = bias ? bias[task.channel] : S(0), t = tangent_bias ? tangent_bias[task.channel] : S(0);
    for (int64_t i = 0, n; i < task.size; i += n) {
      n = least(kBlock, task.size - i);
      const int64_t at = task.offset + i;
      const S* noise_here = noise ? noise + i : nullptr;
      const S *piece_dy = load(dy + at, buffers[0], n), *piece_x = load(x + at, buffers[1], n);
      S* target = staged(dx + at, buffers[2]);
      if (smooth) {
        forward_plane<kLrelu>(piece_x, d, b, noise_here, strength, buffers[3], n, identity);
        smooth_loop(piece_dy, nullptr, t, buffers[3], buffers[0], n, scale);
        piece_dy = buffers[0];
      }
      loops.plane(piece_dy, piece_x, d, b, smooth ? S(0) : t, noise_here, strength, target, sums, n, p);
      store(dx + at, target, n);
    }
  };

  parallel(a.parallel, cut.tasks, cut.grain(), [&](int64_t begin, int64_t end) {
    alignas(64) S buffers[4][kBlock];
    const int64_t row = cut.row;
    // base, demod, tangent, zeros (the tangent once a smooth pass has added it) and three sums
    S* vectors = allocate_zeros<S>(7 * row);
    S *base = vectors, *demod = vectors + row, *tangent = vectors + 2 * row, *zeros = vectors + 3 * row;
    S* sums = vectors + 4 * row;
    if (cut.channels_last) {
      repeat_row(base, bias, S(0), cut);
      repeat_row(tangent, tangent_bias, S(0), cut);
    }
    int64_t demod_of = -1;
    for (int64_t index = begin; index < end; index++) {
      const Task task(cut, index);
      const S* noise = task_noise<S>(a, cut, task);
      S* result = partial + index * 3 * width;
      if (!cut.channels_last) {
        plane_task(task, noise, buffers, result);
        continue;
      }
      if (demod_of != task.sample) {
        repeat_row(demod, demods ? demods + task.sample * cut.channels : nullptr, S(1), cut);
        demod_of = task.sample;
      }
      memset(sums, 0, size_t(3 * row) * sizeof(S));
      // Values that need no conversion run through in one go; others a pair of rows (or part of them) at a time.
      const bool direct = std::is_same_v<S, T> && !smooth;
      const int64_t columns = direct ? row : kColumns;
      for (int64_t i = 0, taken; i < task.size; i += taken) {
        const bool several = task.size - i >= kRows * row;
        const int count = several ? kRows : 1;
        const int64_t groups = direct && several ? (task.size - i) / (kRows * row) : 1;
        const int64_t length = least(row, task.size - i);
        taken = several ? groups * kRows * row : length;
        const S* pixel_noise = noise ? noise + i / cut.channels : nullptr;
        for (int64_t c = 0; c < length; c += columns) {
          const int64_t n = least(columns, length - c), at = task.offset + i + c;
          const S *piece_dy = nullptr, *piece_x = nullptr;
          S* piece_dx = nullptr;
          if (direct) {
            piece_dy = load(dy + at, buffers[0], 0), piece_x = load(x + at, buffers[1], 0), piece_dx = staged(dx + at, buffers[2]);
          } else {
            for (int r = 0; r < count; r++) {
              const int64_t in_buffer = r * kColumns, in_tensor = at + r * row;
              const S* row_dy = load(dy + in_tensor, buffers[0] + in_buffer, n);
              const S* row_x = load(x + in_tensor, buffers[1] + in_buffer, n);
              if (row_x != buffers[1] + in_buffer) memcpy(buffers[1] + in_buffer, row_x, size_t(n) * sizeof(S));
              if (smooth) {
                S* z = buffers[3];
                forward_row<kLrelu>(row_x, demod + c, base + c, pixel_noise ? pixel_noise[r] * strength : S(0), z, n,
                                    identity);
                smooth_loop(row_dy, tangent + c, S(0), z, buffers[0] + in_buffer, n, scale);
              }
            }
            piece_dy = buffers[0], piece_x = buffers[1], piece_dx = buffers[2];
          }
          (several ? loops.rows : loops.row)(piece_dy, piece_x, demod + c, base + c, (smooth ? zeros : tangent) + c,
                                             pixel_noise, strength, piece_dx, direct ? row : kColumns, groups, sums + c, row,
                                             n, p);
          for (int r = 0; r < count && !direct; r++) copy_out(dx + at + r * row, buffers[2] + r * kColumns, n);
        }
      }
      for (int64_t k = 0; k < (modulated ? 3 : 1); k++)
        for (int64_t r = 0; r < cut.repeat; r++)
          for (int64_t c = 0; c < width; c++) result[k * width + c] += sums[k * row + r * width + c];
    }
    free(vectors);
  });
  add_partial_sums(g, cut, partial);
  free(partial);
}

void epilogue_grad(const EpilogueGradArgs& g) {
  with_type(g.forward.dtype, [&](auto* type) { gradient<std::remove_pointer_t<decltype(type)>>(g); });
}

}  // namespace GAN_LT_ISA
}  // namespace gan_lt
