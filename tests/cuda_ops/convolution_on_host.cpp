// conv3x3's loops without torch, for a test that compiles them for several instruction sets.
#include <stdexcept>

#include "kernels.h"

namespace gan_lt {
void no_memory(uint64_t) { throw std::runtime_error("no memory"); }
namespace native {
bool convolution_in_bfloat16();
void convolution(const ConvolutionArgs&);
void convolution_weight_grad(const ConvolutionArgs&);
void convolution_down(const ConvolutionArgs&);
void convolution_up(const ConvolutionArgs&);
void convolution_down_weight_grad(const ConvolutionArgs&);
}  // namespace native
}  // namespace gan_lt

extern "C" bool in_bfloat16() { return gan_lt::native::convolution_in_bfloat16(); }

static void in_order(int64_t end, int64_t, void (*body)(int64_t, int64_t, void*), void* context) {
  for (int64_t i = 0; i < end; i++) body(i, i + 1, context);
}

// x [samples, height, width, in], or where `strided` [samples, 2 * height + 1, 2 * width + 1, in]; weight [out, in, 3, 3] ->
// y [samples, height, width, out], d_x as x and d_weight [out, 3, 3, in], the gradients for dy = y; all float, or bfloat16.
extern "C" void both(const void* x, const void* weight, void* y, void* d_x, void* d_weight, bool bfloat16, bool strided,
                     int64_t samples, int64_t height, int64_t width, int64_t in, int64_t out) {
  using namespace gan_lt::native;
  gan_lt::ConvolutionArgs a{};
  a.parallel = in_order, a.dtype = bfloat16 ? gan_lt::Dtype::kBFloat16 : gan_lt::Dtype::kFloat;
  a.x = x, a.weight = weight, a.y = y, a.dy = y, a.d_weight = d_weight;
  a.samples = samples, a.height = height, a.width = width, a.in = in, a.out = out;
  a.weight_out = in * 9, a.weight_in = 9, a.weight_y = 3, a.weight_x = 1;
  (strided ? convolution_down : convolution)(a);
  (strided ? convolution_down_weight_grad : convolution_weight_grad)(a);
  a.x = y, a.y = d_x, a.in = out, a.out = in, a.transposed = true;
  (strided ? convolution_up : convolution)(a);
}

// y = relu(where(mask > 0, convolution + bias + shortcut, 0)).
extern "C" void finished(const void* x, const void* weight, const float* bias, const void* shortcut, const void* mask, void* y,
                         bool bfloat16, int64_t samples, int64_t height, int64_t width, int64_t in, int64_t out) {
  gan_lt::ConvolutionArgs a{};
  a.parallel = in_order, a.dtype = bfloat16 ? gan_lt::Dtype::kBFloat16 : gan_lt::Dtype::kFloat;
  a.x = x, a.weight = weight, a.y = y;
  a.samples = samples, a.height = height, a.width = width, a.in = in, a.out = out;
  a.weight_out = in * 9, a.weight_in = 9, a.weight_y = 3, a.weight_x = 1;
  a.bias = bias, a.shortcut = shortcut, a.mask = mask, a.relu = true;
  gan_lt::native::convolution(a);
}
