// Bias, activation, gain and clamp, with demodulation and noise where there are any, and the gradient of the gradient of
// smooth activations, on the CPU.
#include "epilogue_cut.h"

namespace gan_lt {
namespace GAN_LT_ISA {

// In place: values of z become those of the output.
template <int A, typename S>
static void smooth_values(S* z, int64_t n, ActScale<S> p) {
  for (int64_t i = 0; i < n; i++) z[i] = epilogue_value<A>(z[i], p);
}

template <typename T>
static void forward(const EpilogueArgs& a) {
  using S = typename Accumulator<T>::type;
  const auto row_loop = a.act == kRelu ? forward_row<kRelu, S> : forward_row<kLrelu, S>;
  const auto plane_loop = a.act == kRelu ? forward_plane<kRelu, S> : forward_plane<kLrelu, S>;
  const bool smooth = !act_is_piecewise_linear(a.act);
  void (*smooth_loop)(S*, int64_t, ActScale<S>) = nullptr;
  with_smooth_act(a.act, [&](auto number) { smooth_loop = smooth_values<decltype(number)::value, S>; });
  const ActScale<S> p = loop_scale<S>(a), scale = act_scale<S>(a);
  const Cut cut(a);
  const S* demods = static_cast<const S*>(a.demod);
  const S* bias = static_cast<const S*>(a.bias);
  const S strength = S(a.strength);
  const T* x = static_cast<const T*>(a.x);
  T* y = static_cast<T*>(a.y);
  parallel(a.parallel, cut.tasks, cut.grain(), [&](int64_t begin, int64_t end) {
    alignas(64) S in[kBlock], out[kBlock];
    const int64_t row = cut.row;
    S* base = allocate<S>(row);
    S* demod = allocate<S>(row);
    if (cut.channels_last) repeat_row(base, bias, S(0), cut);
    int64_t demod_of = -1;
    for (int64_t index = begin; index < end; index++) {
      const Task task(cut, index);
      const S* noise = task_noise<S>(a, cut, task);
      const S plane_demod = demods && !cut.channels_last ? demods[task.sample * cut.channels + task.channel] : S(1);
      const S plane_base = bias && !cut.channels_last ? bias[task.channel] : S(0);
      if (demods && cut.channels_last && demod_of != task.sample) {
        repeat_row(demod, demods + task.sample * cut.channels, S(1), cut);
        demod_of = task.sample;
      }
      for (int64_t i = 0, n; i < task.size; i += n) {
        // A piece is a row, or part of a long row, or part of a plane.
        const int64_t column = cut.channels_last ? i % row : 0, at = task.offset + i;
        n = cut.channels_last ? least(row - column, kBlock, task.size - i) : least(kBlock, task.size - i);
        const S* source = load(x + at, in, n);
        S* target = staged(y + at, out);
        if (cut.channels_last) {
          const S z = noise ? noise[i / cut.channels] * strength : S(0);
          row_loop(source, demods ? demod + column : nullptr, base + column, z, target, n, p);
        } else {
          plane_loop(source, plane_demod, plane_base, noise ? noise + i : nullptr, strength, target, n, p);
        }
        if (smooth) smooth_loop(target, n, scale);
        store(y + at, target, n);
      }
    }
    free(demod);
    free(base);
  });
}

void epilogue(const EpilogueArgs& a) {
  with_type(a.dtype, [&](auto* type) { forward<std::remove_pointer_t<decltype(type)>>(a); });
}

template <int A, typename S>
static void second_derivatives(const S* __restrict x, const S* __restrict dy, const S* __restrict ddx,
                               const S* __restrict base, const S* __restrict tangent, S* __restrict d_dy,
                               S* __restrict d_x, int64_t n, ActScale<S> p) {
  for (int64_t i = 0; i < n; i++) {
    const S z = x[i] + base[i], v = ddx[i] + tangent[i];
    d_dy[i] = v * epilogue_slope<A>(z, p);
    d_x[i] = v * dy[i] * epilogue_curvature<A>(z, p);
  }
}

template <typename T>
static void second(const EpilogueGrad2Args& g) {
  using S = typename Accumulator<T>::type;
  const EpilogueArgs& a = g.forward;
  decltype(&second_derivatives<kSwish, S>) loop = nullptr;
  with_smooth_act(a.act, [&](auto number) { loop = second_derivatives<decltype(number)::value, S>; });
  const Cut cut(a);
  const S* bias = static_cast<const S*>(a.bias);
  const S* tangent_bias = static_cast<const S*>(g.tangent_bias);
  const T *x = static_cast<const T*>(a.x), *dy = static_cast<const T*>(g.dy), *ddx = static_cast<const T*>(g.ddx);
  T *d_dy = static_cast<T*>(g.d_dy), *d_x = static_cast<T*>(g.d_x);
  parallel(a.parallel, cut.tasks, cut.grain(), [&](int64_t begin, int64_t end) {
    alignas(64) S buffers[5][kBlock];
    const int64_t row = cut.channels_last ? cut.row : kBlock;
    S* base = allocate<S>(row);
    S* tangent = allocate<S>(row);
    if (cut.channels_last) {
      repeat_row(base, bias, S(0), cut);
      repeat_row(tangent, tangent_bias, S(0), cut);
    }
    for (int64_t index = begin; index < end; index++) {
      const Task task(cut, index);
      for (int64_t i = 0; i < row && !cut.channels_last; i++) {
        base[i] = bias ? bias[task.channel] : S(0);
        tangent[i] = tangent_bias ? tangent_bias[task.channel] : S(0);
      }
      for (int64_t i = 0, n; i < task.size; i += n) {
        const int64_t column = i % row, at = task.offset + i;
        n = least(row - column, kBlock, task.size - i);
        S *target_dy = staged(d_dy + at, buffers[3]), *target_x = staged(d_x + at, buffers[4]);
        loop(load(x + at, buffers[0], n), load(dy + at, buffers[1], n), load(ddx + at, buffers[2], n), base + column, tangent + column, target_dy, target_x, n,
             act_scale<S>(a));
        store(d_dy + at, target_dy, n);
        store(d_x + at, target_x, n);
      }
    }
    free(tangent);
    free(base);
  });
}

void epilogue_grad2(const EpilogueGrad2Args& g) {
  with_type(g.forward.dtype, [&](auto* type) { second<std::remove_pointer_t<decltype(type)>>(g); });
}

}  // namespace GAN_LT_ISA
}  // namespace gan_lt
