// The operators' CPU kernels on LibTorch's stable ABI. Schemas, fake kernels and autograd stand in cuda_ops/ops.py.
#include <exception>
#include <mutex>
#include <stdexcept>
#include <string>

#include "convolution_calls.h"
#include "tensors.h"

namespace gan_lt {

#define GAN_LT_DECLARE(isa)                     \
  namespace isa {                               \
  bool convolution_in_bfloat16();               \
  void upfirdn2d(const UpfirdnArgs&);           \
  void epilogue(const EpilogueArgs&);           \
  void epilogue_grad(const EpilogueGradArgs&);  \
  void epilogue_grad2(const EpilogueGrad2Args&); \
  void resize_planes(const ResizeArgs&);        \
  void convolution(const ConvolutionArgs&);     \
  void convolution_weight_grad(const ConvolutionArgs&); \
  void convolution_down(const ConvolutionArgs&); \
  void convolution_up(const ConvolutionArgs&);  \
  void convolution_down_weight_grad(const ConvolutionArgs&); \
  }                                             \
  static const Kernels isa##_kernels{isa::convolution_in_bfloat16, isa::upfirdn2d, isa::epilogue, isa::epilogue_grad, isa::epilogue_grad2, \
                                     isa::resize_planes, isa::convolution, isa::convolution_weight_grad, \
                                     isa::convolution_down, isa::convolution_up, \
                                     isa::convolution_down_weight_grad};

#ifdef GAN_LT_MULTIVERSION
GAN_LT_DECLARE(x86_64)
GAN_LT_DECLARE(x86_64_v3)
GAN_LT_DECLARE(x86_64_v4)
GAN_LT_DECLARE(x86_64_v4_bf16)
static const Kernels& choose() {
  __builtin_cpu_init();
  const bool v3 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("bmi2");
  const bool v4 = v3 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
                  __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
  const bool v4_bf16 = v4 && __builtin_cpu_supports("avx512bf16");
  return v4_bf16 ? x86_64_v4_bf16_kernels : v4 ? x86_64_v4_kernels : v3 ? x86_64_v3_kernels : x86_64_kernels;
}
#else
GAN_LT_DECLARE(native)
static const Kernels& choose() { return native_kernels; }
#endif

const Kernels& kernels() {
  static const Kernels& chosen = choose();
  return chosen;
}

// For Python: whether conv3x3 takes bfloat16.
extern "C" __attribute__((visibility("default"))) bool gan_lt_convolution_in_bfloat16() {
  return kernels().convolution_in_bfloat16();
}

void no_memory(uint64_t bytes) {
  throw std::runtime_error("cuda_ops: not enough memory for " + std::to_string(bytes) + " bytes");
}

// What a part has thrown comes out as it was: torch's C interface keeps only that something failed.
struct Part {
  void (*body)(int64_t, int64_t, void*);
  void* context;
  std::mutex mutex;
  std::exception_ptr thrown;

  static void run(int64_t begin, int64_t end, void* part) {
    Part& self = *static_cast<Part*>(part);
    try {
      self.body(begin, end, self.context);
    } catch (...) {
      const std::lock_guard<std::mutex> guard(self.mutex);
      self.thrown = std::current_exception();
    }
  }
};

void run_parallel(int64_t end, int64_t grain, void (*body)(int64_t, int64_t, void*), void* context) {
  if (end <= grain) {
    if (end > 0) body(0, end, context);
    return;
  }
  Part part{body, context, {}, {}};
  STABLE_TORCH_ERROR_CODE_CHECK(torch_parallel_for(0, end, grain, Part::run, &part));
  if (part.thrown) std::rethrow_exception(part.thrown);
}

static Dtype dtype_of(const Tensor& t) {
  switch (t.scalar_type()) {
    case ScalarType::Float: return Dtype::kFloat;
    case ScalarType::Double: return Dtype::kDouble;
    case ScalarType::BFloat16: return Dtype::kBFloat16;
    case ScalarType::Half: return Dtype::kHalf;
    default: STD_TORCH_CHECK(false, "cuda_ops: only float64, float32, bfloat16 and float16 are supported");
  }
  return Dtype::kFloat;
}

// ---- upfirdn2d ----

// The filter as correlation taps with the gain, split in two where it is an outer product.
struct Taps {
  int64_t fw = 1, fh = 1;
  std::vector<double> all, columns, rows;

  Taps(const Tensor& filter, bool flip_filter, double gain, bool exact) {
    const bool wide = filter.scalar_type() == ScalarType::Double;
    const Tensor f = dense_copy(
        wide || filter.scalar_type() == ScalarType::Float ? filter : converted(filter, ScalarType::Float));
    const int64_t n = f.numel();
    std::vector<double> ordered(n);
    for (int64_t i = 0; i < n; i++)
      ordered[flip_filter ? i : n - 1 - i] =
          wide ? static_cast<const double*>(f.data_ptr())[i] : static_cast<const float*>(f.data_ptr())[i];
    if (f.dim() == 1) {
      fw = fh = n;
      columns = rows = ordered;
      for (double& v : columns) v *= gain;
      return;
    }
    fh = f.size(0), fw = f.size(1);
    int64_t peak = 0;
    for (int64_t i = 1; i < n; i++)
      if (ordered[i] * ordered[i] > ordered[peak] * ordered[peak]) peak = i;
    const double top = ordered[peak], slack = exact ? 0 : 1e-7 * top * top;
    bool rank_one = top != 0;
    for (int64_t i = 0; i < n && rank_one; i++) {
      const double error =
          ordered[i] * top - ordered[i / fw * fw + peak % fw] * ordered[peak / fw * fw + i % fw];
      rank_one = (error < 0 ? -error : error) <= slack;
    }
    if (!rank_one) {
      all = ordered;
      for (double& v : all) v *= gain;
      return;
    }
    for (int64_t i = 0; i < fw; i++) columns.push_back(ordered[peak / fw * fw + i] * gain);
    for (int64_t i = 0; i < fh; i++) rows.push_back(ordered[i * fw + peak % fw] / top);
  }
};

static Tensor upfirdn2d(const Tensor& x, const Tensor& f, int64_t up_x, int64_t up_y, int64_t down_x, int64_t down_y,
                        int64_t pad_x0, int64_t pad_x1, int64_t pad_y0, int64_t pad_y1, bool flip_filter, double gain) {
  const Dense dense(x);
  const Dtype dtype = dtype_of(x);
  const Taps taps(f, flip_filter, gain, dtype == Dtype::kDouble);
  const auto size = x.sizes();
  const int64_t out_h = upfirdn2d_size(size[2], up_y, down_y, pad_y0, pad_y1, taps.fh);
  const int64_t out_w = upfirdn2d_size(size[3], up_x, down_x, pad_x0, pad_x1, taps.fw);
  Tensor y = empty({size[0], size[1], out_h, out_w}, dense.channels_last, raw_dtype(x), x);
  if (y.numel() == 0) return y;
  UpfirdnArgs a{};
  a.parallel = run_parallel;
  a.dtype = dtype;
  a.x = dense.tensor.data_ptr();
  a.y = y.data_ptr();
  a.planes = dense.channels_last ? size[0] : size[0] * size[1];
  a.k = dense.channels_last ? size[1] : 1;
  a.in_h = size[2], a.in_w = size[3], a.out_h = out_h, a.out_w = out_w;
  a.up_x = up_x, a.up_y = up_y, a.down_x = down_x, a.down_y = down_y, a.pad_x = pad_x0, a.pad_y = pad_y0;
  a.fw = taps.fw, a.fh = taps.fh;
  a.taps_x = taps.columns.data(), a.taps_y = taps.rows.data();
  a.taps = taps.all.empty() ? nullptr : taps.all.data();
  kernels().upfirdn2d(a);
  return y;
}

// ---- bias_act ----

static EpilogueArgs epilogue_args(const Tensor& x, int64_t act, double alpha, double gain, double limit) {
  EpilogueArgs a{};
  a.parallel = run_parallel;
  a.dtype = dtype_of(x);
  a.x = x.data_ptr();
  a.act = int(act);
  a.alpha = alpha, a.gain = gain, a.limit = limit;
  return a;
}

static EpilogueArgs bias_act_args(const Dense& x, const Parameter& bias, int64_t dim, int64_t act, double alpha,
                                  double gain, double limit) {
  EpilogueArgs a = epilogue_args(x.tensor, act, alpha, gain, limit);
  const BiasView view(x.tensor, x.channels_last, dim, bias.tensor.has_value());
  a.channels_last = view.channels_last;
  a.samples = view.samples, a.pixels = view.pixels, a.channels = view.channels;
  a.bias = bias.data();
  return a;
}

// bias_act is [N, C, ...] with the bias along dim; channels_last is kept where that is dim 1.
static Dense bias_act_input(const Tensor& x, bool has_bias, int64_t dim) {
  Dense dense(x);
  if (dense.channels_last && has_bias && dim != 1) {
    dense.tensor = in_format(x, false);
    dense.channels_last = false;
  }
  return dense;
}

static Tensor bias_act(const Tensor& x, const MaybeTensor& b, int64_t dim, int64_t act, double alpha, double gain,
                       double limit) {
  const Dense dense = bias_act_input(x, b.has_value(), dim);
  const Parameter bias(b, x);
  Tensor y = empty_like(x, dense.channels_last);
  if (y.numel() == 0) return y;
  EpilogueArgs a = bias_act_args(dense, bias, dim, act, alpha, gain, limit);
  a.y = y.data_ptr();
  kernels().epilogue(a);
  return y;
}

static std::tuple<Tensor, Tensor> bias_act_grad(const Tensor& dy, const Tensor& x, const MaybeTensor& b,
                                                const MaybeTensor& tangent, int64_t dim, int64_t act, double alpha,
                                                double gain, double limit, bool from_output) {
  const Dense dense = bias_act_input(x, b.has_value(), dim);
  const Parameter bias(b, x), tangent_bias(tangent, x);
  const Tensor dense_dy = in_format(dy, dense.channels_last);
  Tensor dx = empty_like(x, dense.channels_last);
  Tensor d_bias = empty({b ? x.size(dim) : 0}, false, raw_accumulator(x), x);
  if (dx.numel() == 0) return {dx, torch::stable::zero_(d_bias)};
  EpilogueGradArgs g{};
  g.forward = bias_act_args(dense, bias, dim, act, alpha, gain, limit);
  if (from_output) g.forward.bias = nullptr;
  g.from_output = from_output;
  g.dy = dense_dy.data_ptr();
  g.tangent_bias = tangent_bias.data();
  g.dx = dx.data_ptr();
  g.d_bias = b ? d_bias.data_ptr() : nullptr;
  kernels().epilogue_grad(g);
  return {dx, d_bias};
}

static std::tuple<Tensor, Tensor> bias_act_grad2(const Tensor& dy, const Tensor& ddx, const Tensor& x,
                                                 const MaybeTensor& b, const MaybeTensor& tangent, int64_t dim,
                                                 int64_t act, double alpha, double gain, double limit) {
  const Dense dense = bias_act_input(x, b.has_value(), dim);
  const Parameter bias(b, x), tangent_bias(tangent, x);
  const Tensor dense_dy = in_format(dy, dense.channels_last), dense_ddx = in_format(ddx, dense.channels_last);
  Tensor d_dy = empty_like(x, dense.channels_last), d_x = empty_like(x, dense.channels_last);
  if (d_x.numel() == 0) return {d_dy, d_x};
  EpilogueGrad2Args g{};
  g.forward = bias_act_args(dense, bias, dim, act, alpha, gain, limit);
  g.dy = dense_dy.data_ptr();
  g.ddx = dense_ddx.data_ptr();
  g.tangent_bias = tangent_bias.data();
  g.d_dy = d_dy.data_ptr();
  g.d_x = d_x.data_ptr();
  kernels().epilogue_grad2(g);
  return {d_dy, d_x};
}

// ---- modulated_epilogue ----

// The parameters of one call, kept alive while its kernels run.
struct Modulation {
  Parameter demod, noise, strength, bias;

  EpilogueArgs args(const Dense& x, int64_t act, double alpha, double gain, double limit) const {
    EpilogueArgs a = epilogue_args(x.tensor, act, alpha, gain, limit);
    const auto size = x.tensor.sizes();
    a.channels_last = x.channels_last;
    a.samples = size[0], a.channels = size[1], a.pixels = size[2] * size[3];
    a.demod = demod.data(), a.noise = noise.data(), a.bias = bias.data();
    a.noise_per_sample = noise.tensor && noise.tensor->dim() == 4 && noise.tensor->size(0) == size[0];
    if (strength.data())
      a.strength = a.dtype == Dtype::kDouble ? *static_cast<const double*>(strength.data())
                                             : *static_cast<const float*>(strength.data());
    return a;
  }
};

static Tensor modulated_epilogue(const Tensor& x, const MaybeTensor& demod, const MaybeTensor& noise,
                                 const MaybeTensor& strength, const MaybeTensor& bias, int64_t act, double alpha,
                                 double gain, double limit) {
  const Dense dense(x);
  const Modulation m{{demod, x}, {noise, x}, {strength, x}, {bias, x}};
  Tensor y = empty_like(x, dense.channels_last);
  if (y.numel() == 0) return y;
  EpilogueArgs a = m.args(dense, act, alpha, gain, limit);
  a.y = y.data_ptr();
  kernels().epilogue(a);
  return y;
}

static std::tuple<Tensor, Tensor, Tensor, Tensor> modulated_epilogue_grad(
    const Tensor& dy, const Tensor& x, const MaybeTensor& demod, const MaybeTensor& noise, const MaybeTensor& strength,
    const MaybeTensor& bias, int64_t act, double alpha, double gain, double limit) {
  const Dense dense(x);
  const Modulation m{{demod, x}, {noise, x}, {strength, x}, {bias, x}};
  const Tensor dense_dy = in_format(dy, dense.channels_last);
  const int32_t dtype = raw_accumulator(x);
  Tensor dx = empty_like(x, dense.channels_last);
  Tensor d_demod = empty({demod ? x.size(0) : 0, x.size(1)}, false, dtype, x);
  Tensor d_strength = empty({noise ? 1 : 0}, false, dtype, x);
  Tensor d_bias = empty({bias ? x.size(1) : 0}, false, dtype, x);
  if (dx.numel() == 0)
    return {dx, torch::stable::zero_(d_demod), torch::stable::zero_(d_strength), torch::stable::zero_(d_bias)};
  EpilogueGradArgs g{};
  g.forward = m.args(dense, act, alpha, gain, limit);
  g.dy = dense_dy.data_ptr();
  g.dx = dx.data_ptr();
  g.d_bias = bias ? d_bias.data_ptr() : nullptr;
  g.d_demod = demod ? d_demod.data_ptr() : nullptr;
  g.d_strength = noise ? d_strength.data_ptr() : nullptr;
  kernels().epilogue_grad(g);
  return {dx, d_demod, d_strength, d_bias};
}

// ---- resize_planes ----

static void resize_planes(const Tensor& planes, const Tensor& weights, const Tensor& starts, double highest,
                          const Tensor& out) {
  ResizeArgs a{};
  a.parallel = run_parallel;
  a.x = static_cast<const uint8_t*>(planes.data_ptr());
  a.y = static_cast<float*>(out.data_ptr());
  a.weights = static_cast<const float*>(weights.data_ptr());
  a.starts = static_cast<const int64_t*>(starts.data_ptr());
  a.planes = planes.size(0), a.in = planes.size(1), a.out = out.size(1), a.taps = weights.size(1);
  a.highest = float(highest);
  kernels().resize_planes(a);
}

}  // namespace gan_lt

STABLE_TORCH_LIBRARY_IMPL(cuda_ops, CPU, library) {
  library.impl("upfirdn2d", TORCH_BOX(&gan_lt::upfirdn2d));
  library.impl("resize_planes", TORCH_BOX(&gan_lt::resize_planes));
  library.impl("conv3x3", TORCH_BOX(&gan_lt::conv3x3));
  library.impl("conv3x3_finished", TORCH_BOX(&gan_lt::conv3x3_finished));
  library.impl("conv3x3_weight", TORCH_BOX(&gan_lt::conv3x3_weight));
  library.impl("bias_act", TORCH_BOX(&gan_lt::bias_act));
  library.impl("bias_act_grad", TORCH_BOX(&gan_lt::bias_act_grad));
  library.impl("bias_act_grad2", TORCH_BOX(&gan_lt::bias_act_grad2));
  library.impl("modulated_epilogue", TORCH_BOX(&gan_lt::modulated_epilogue));
  library.impl("modulated_epilogue_grad", TORCH_BOX(&gan_lt::modulated_epilogue_grad));
}
