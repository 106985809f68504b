// Tensors to the arguments of the 3x3 convolutions' kernels, checked; a part of register.cpp.
#pragma once

#include "tensors.h"

namespace gan_lt {

const Kernels& kernels();
void run_parallel(int64_t end, int64_t grain, void (*body)(int64_t, int64_t, void*), void* context);

static void check_convolution(const Tensor& images, const Tensor& other) {
  STD_TORCH_CHECK(images.dim() == 4 && other.dim() == 4, "cuda_ops: 3x3 convolutions take tensors of four dimensions");
  const ScalarType type = images.scalar_type();
  STD_TORCH_CHECK(type == other.scalar_type() &&
                      (type == ScalarType::Float || (type == ScalarType::BFloat16 && kernels().convolution_in_bfloat16())),
                  "cuda_ops: 3x3 convolutions take float32, and bfloat16 on CPUs with instructions for it");
}

// height and width are those of the smaller images.
static ConvolutionArgs convolution_args(const Tensor& x, bool x_is_larger, int64_t out) {
  const auto size = x.sizes();
  ConvolutionArgs a{};
  a.parallel = run_parallel;
  a.dtype = x.scalar_type() == ScalarType::Float ? Dtype::kFloat : Dtype::kBFloat16;
  a.x = x.data_ptr();
  a.samples = size[0], a.in = size[1], a.out = out;
  a.height = x_is_larger ? (size[2] - 1) / 2 : size[2];
  a.width = x_is_larger ? (size[3] - 1) / 2 : size[3];
  return a;
}

// What follows a convolution; null where nothing does.
struct Finish {
  const float* bias;
  const void *shortcut, *mask;
  bool relu;
};

static Tensor convolve(const Tensor& x, const Tensor& weight, bool strided, bool transposed, const Finish& finish) {
  check_convolution(x, weight);
  STD_TORCH_CHECK(weight.size(2) == 3 && weight.size(3) == 3 && weight.size(transposed ? 0 : 1) == x.size(1),
                  "cuda_ops: the weight of a 3x3 convolution does not fit the images");
  const Tensor dense = in_format(x, true);
  const bool up = strided && transposed, down = strided && !transposed;
  STD_TORCH_CHECK(!down || (x.size(2) % 2 == 1 && x.size(3) % 2 == 1), "cuda_ops: a strided 3x3 convolution takes odd sizes");
  ConvolutionArgs a = convolution_args(dense, down, weight.size(transposed ? 1 : 0));
  Tensor y = empty({a.samples, a.out, up ? 2 * a.height + 1 : a.height, up ? 2 * a.width + 1 : a.width}, true,
                   raw_dtype(x), x);
  if (y.numel() == 0) return y;
  if (x.numel() == 0) return torch::stable::zero_(y);
  const auto stride = weight.strides();
  a.weight = weight.data_ptr();
  a.weight_out = stride[0], a.weight_in = stride[1], a.weight_y = stride[2], a.weight_x = stride[3];
  a.transposed = transposed;
  a.y = y.data_ptr();
  a.bias = finish.bias, a.shortcut = finish.shortcut, a.mask = finish.mask, a.relu = finish.relu;
  const Kernels& k = kernels();
  (up ? k.convolution_up : down ? k.convolution_down : k.convolution)(a);
  return y;
}

static Tensor conv3x3(const Tensor& x, const Tensor& weight, bool strided, bool transposed) {
  return convolve(x, weight, strided, transposed, {});
}

// A tensor of the shape of a convolution's output, dense in channels_last.
static MaybeTensor like_output(const MaybeTensor& t, const Tensor& x, int64_t out) {
  if (!t) return t;
  check_convolution(x, *t);
  STD_TORCH_CHECK(t->size(0) == x.size(0) && t->size(1) == out && t->size(2) == x.size(2) && t->size(3) == x.size(3),
                  "cuda_ops: the shortcut or mask of a 3x3 convolution does not fit its output");
  return in_format(*t, true);
}

static Tensor conv3x3_finished(const Tensor& x, const Tensor& weight, bool transposed, const MaybeTensor& bias,
                               const MaybeTensor& shortcut, const MaybeTensor& mask, bool relu) {
  check_convolution(x, weight);
  STD_TORCH_CHECK(x.size(1) > 0, "cuda_ops: a finished 3x3 convolution takes images with channels");
  const int64_t out = weight.size(transposed ? 1 : 0);
  STD_TORCH_CHECK(!bias || (bias->dim() == 1 && bias->size(0) == out),
                  "cuda_ops: the bias of a 3x3 convolution does not fit its weight");
  const Parameter dense_bias(bias, x);
  const MaybeTensor dense_shortcut = like_output(shortcut, x, out), dense_mask = like_output(mask, x, out);
  const auto data = [](const MaybeTensor& t) -> const void* { return t ? t->data_ptr() : nullptr; };
  return convolve(x, weight, false, transposed,
                  {static_cast<const float*>(dense_bias.data()), data(dense_shortcut), data(dense_mask), relu});
}

static Tensor conv3x3_weight(const Tensor& x, const Tensor& dy, bool strided) {
  check_convolution(x, dy);
  const int64_t twice = strided ? 2 : 1, more = strided ? 1 : 0;
  STD_TORCH_CHECK(x.size(0) == dy.size(0) && x.size(2) == twice * dy.size(2) + more && x.size(3) == twice * dy.size(3) + more,
                  "cuda_ops: the images of a 3x3 convolution's weight gradient do not fit each other");
  const Tensor dense = in_format(x, true), dense_dy = in_format(dy, true);
  Tensor d_weight = empty({dy.size(1), x.size(1), 3, 3}, true, raw_dtype(x), x);
  if (x.numel() == 0 || dy.numel() == 0) return torch::stable::zero_(d_weight);
  ConvolutionArgs a = convolution_args(dense, strided, dy.size(1));
  a.dy = dense_dy.data_ptr();
  a.d_weight = d_weight.data_ptr();
  (strided ? kernels().convolution_down_weight_grad : kernels().convolution_weight_grad)(a);
  return d_weight;
}

}  // namespace gan_lt
