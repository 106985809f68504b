// Bias, activation, gain and clamp, with demodulation and noise where there are any, and the gradient of the gradient of
// smooth activations, on the CPU.
#include "epilogue_cut.h"

namespace gan_lt {
namespace GAN_LT_ISA {

// y = clamp(gain * act(x * demod + noise + base)) along the channels (vectors demod and base, one noise) or along a plane
// (one demod and base, a vector of noise); demod or noise may be null.
template <int A, typename S>
static void forward_row(const S* __restrict x, const S* __restrict demod, const S* __restrict base, S noise,
                        S* __restrict y, int64_t n, ActScale<S> p) {
  if (demod)
    for (int64_t i = 0; i < n; i++) y[i] = epilogue_value<A>(x[i] * demod[i] + (base[i] + noise), p);
  else
    for (int64_t i = 0; i < n; i++) y[i] = epilogue_value<A>(x[i] + (base[i] + noise), p);
}
template <int A, typename S>
static void forward_plane(const S* __restrict x, S demod, S base, const S* __restrict noise, S strength,
                          S* __restrict y, int64_t n, ActScale<S> p) {
  if (noise)
    for (int64_t i = 0; i < n; i++) y[i] = epilogue_value<A>(x[i] * demod + (noise[i] * strength + base), p);
  else
    for (int64_t i = 0; i < n; i++) y[i] = epilogue_value<A>(x[i] * demod + base, p);
}

template <typename S>
struct ForwardLoops {
  decltype(&forward_row<kLrelu, S>) row = forward_row<kLrelu, S>;
  decltype(&forward_plane<kLrelu, S>) plane = forward_plane<kLrelu, S>;

  explicit ForwardLoops(int act) {
    const auto take = [&](auto number) {
      row = forward_row<decltype(number)::value, S>, plane = forward_plane<decltype(number)::value, S>;
    };
    if (act == kRelu) take(std::integral_constant<int, kRelu>());
    if (!act_is_piecewise_linear(act)) with_smooth_act(act, take);
  }
};

template <typename T>
static void forward(const EpilogueArgs& a) {
  using S = typename Accumulator<T>::type;
  const ForwardLoops<S> loops(a.act);
  const ActScale<S> p = lrelu_scale<S>(a);
  const Cut cut(a);
  const S* demods = static_cast<const S*>(a.demod);
  const S* bias = static_cast<const S*>(a.bias);
  const S strength = S(a.strength);
  const T* x = static_cast<const T*>(a.x);
  T* y = static_cast<T*>(a.y);
  parallel(a.parallel, cut.tasks, cut.grain(), [&](int64_t begin, int64_t end) {
    alignas(64) S in[kBlock], out[kBlock];
    const int64_t row = cut.row;
    const Memory<S> base(row), demod(row);
    if (cut.channels_last) repeat_row<S>(base, bias, S(0), cut);
    int64_t demod_of = -1;
    for (int64_t index = begin; index < end; index++) {
      const Task task(cut, index);
      const S* noise = task_noise<S>(a, cut, task);
      const S plane_demod = demods && !cut.channels_last ? demods[task.sample * cut.channels + task.channel] : S(1);
      const S plane_base = bias && !cut.channels_last ? bias[task.channel] : S(0);
      if (demods && cut.channels_last && demod_of != task.sample) {
        repeat_row<S>(demod, demods + task.sample * cut.channels, S(1), cut);
        demod_of = task.sample;
      }
      const int64_t row_here = cut.channels_last ? row : task.size;
      for (int64_t i = 0, r = 0; i < task.size; i += row_here, r++) {
        const int64_t length = least(row_here, task.size - i);
        const S row_noise = noise && cut.channels_last ? noise[r] * strength : S(0);  // with noise, a row is one pixel
        for (int64_t c = 0, n; c < length; c += n) {
          n = least(kBlock, length - c);
          const int64_t at = task.offset + i + c;
          const S* source = load(x + at, in, n);
          S* target = staged(y + at, out);
          if (cut.channels_last)
            loops.row(source, demods ? demod.get() + c : nullptr, base + c, row_noise, target, n, p);
          else
            loops.plane(source, plane_demod, plane_base, noise ? noise + c : nullptr, strength, target, n, p);
          store(y + at, target, n);
        }
      }
    }
  });
}

void epilogue(const EpilogueArgs& a) {
  with_type(a.dtype, [&](auto* type) { forward<std::remove_pointer_t<decltype(type)>>(a); });
}

template <int A, bool LIMITED, typename S>
static void second_derivatives(const S* __restrict x, const S* __restrict dy, const S* __restrict ddx,
                               const S* __restrict base, const S* __restrict tangent, S* __restrict d_dy,
                               S* __restrict d_x, int64_t n, ActScale<S> p) {
  for (int64_t i = 0; i < n; i++) {
    const S z = x[i] + base[i], v = ddx[i] + tangent[i];
    d_dy[i] = v * epilogue_slope<A, LIMITED>(z, p);
    d_x[i] = v * dy[i] * epilogue_curvature<A, LIMITED>(z, p);
  }
}

template <typename T>
static void second(const EpilogueGrad2Args& g) {
  using S = typename Accumulator<T>::type;
  const EpilogueArgs& a = g.forward;
  decltype(&second_derivatives<kSwish, true, S>) loop = nullptr;
  with_smooth_act(a.act, [&](auto number) {
    constexpr int A = decltype(number)::value;
    loop = isinf(a.limit) ? second_derivatives<A, false, S> : second_derivatives<A, true, S>;
  });
  const Cut cut(a);
  const ActScale<S> scale = act_scale<S>(a);
  const S* bias = static_cast<const S*>(a.bias);
  const S* tangent_bias = static_cast<const S*>(g.tangent_bias);
  const T *x = static_cast<const T*>(a.x), *dy = static_cast<const T*>(g.dy), *ddx = static_cast<const T*>(g.ddx);
  T *d_dy = static_cast<T*>(g.d_dy), *d_x = static_cast<T*>(g.d_x);
  parallel(a.parallel, cut.tasks, cut.grain(), [&](int64_t begin, int64_t end) {
    alignas(64) S buffers[5][kBlock];
    const int64_t row = cut.channels_last ? cut.row : kBlock;
    const Memory<S> base(row), tangent(row);
    if (cut.channels_last) {
      repeat_row<S>(base, bias, S(0), cut);
      repeat_row<S>(tangent, tangent_bias, S(0), cut);
    }
    for (int64_t index = begin; index < end; index++) {
      const Task task(cut, index);
      for (int64_t i = 0; !cut.channels_last && i < least(row, task.size); i++) {
        base[i] = bias ? bias[task.channel] : S(0);
        tangent[i] = tangent_bias ? tangent_bias[task.channel] : S(0);
      }
      for (int64_t i = 0; i < task.size; i += row) {
        const int64_t length = least(row, task.size - i);
        for (int64_t c = 0, n; c < length; c += n) {
          n = least(kBlock, length - c);
          const int64_t at = task.offset + i + c;
          S *target_dy = staged(d_dy + at, buffers[3]), *target_x = staged(d_x + at, buffers[4]);
          loop(load(x + at, buffers[0], n), load(dy + at, buffers[1], n), load(ddx + at, buffers[2], n), base + c,
               tangent + c, target_dy, target_x, n, scale);
          store(d_dy + at, target_dy, n);
          store(d_x + at, target_x, n);
        }
      }
    }
  });
}

void epilogue_grad2(const EpilogueGrad2Args& g) {
  with_type(g.forward.dtype, [&](auto* type) { second<std::remove_pointer_t<decltype(type)>>(g); });
}

}  // namespace GAN_LT_ISA
}  // namespace gan_lt
