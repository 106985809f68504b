// The CPU kernels' interface: plain structures and one table of functions per instruction set, no torch header.
#pragma once

#include <stdint.h>

namespace gan_lt {

enum class Dtype { kFloat, kDouble, kBFloat16, kHalf };

// Throws a runtime error that says so; one function for all instruction sets.
[[noreturn]] void no_memory(uint64_t bytes);

// Runs body(begin, end, context) over parts of [0, end), several at once where that is worth it.
using ParallelFor = void (*)(int64_t end, int64_t grain, void (*body)(int64_t, int64_t, void*), void* context);

// An image batch is `planes` blocks [height, width, k], k innermost: k = C channels for channels_last (planes = N) and
// k = 1 for contiguous tensors (planes = N * C). Taps are for correlation (already flipped) and hold the gain.
struct UpfirdnArgs {
  ParallelFor parallel;
  Dtype dtype;
  const void* x;
  void* y;
  int64_t planes, in_h, in_w, out_h, out_w, k;
  int64_t up_x, up_y, down_x, down_y, pad_x, pad_y;  // pad: left and top
  int64_t fw, fh;
  const double* taps_x;  // [fw], separable
  const double* taps_y;  // [fh], separable
  const double* taps;    // [fh, fw], not separable; null where it is
};

// y = clamp(gain * act(x * demod + noise * strength + bias)) on [samples, pixels, channels] (channels_last) or
// [samples, channels, pixels]. demod [samples, channels], noise [noise_samples, pixels] with noise_samples 1 or samples,
// and bias [channels] are float, or double where dtype is double; each may be null.
struct EpilogueArgs {
  ParallelFor parallel;
  Dtype dtype;
  bool channels_last;
  int64_t samples, pixels, channels;
  const void* x;
  void* y;
  const void* demod;
  const void* noise;
  bool noise_per_sample;
  double strength;
  const void* bias;
  int act;
  double alpha, gain, limit;
};

// The gradient of the above for an output gradient dy. `forward.x` is the input, or the output where from_output is true
// (piecewise linear activations with positive gain, alpha >= 0, no demod, no noise). Sums may be null if not wanted.
struct EpilogueGradArgs {
  EpilogueArgs forward;
  bool from_output;
  const void* dy;
  const void* tangent_bias;  // [channels], added to dy, or null
  void* dx;
  void* d_bias;      // [channels]
  void* d_demod;     // [samples, channels]
  void* d_strength;  // [1]
};

// Gradient of the gradient for smooth activations, without demod and noise: with v = ddx + tangent_bias,
// d_dy = v * slope(x + bias) and d_x = v * dy * curvature(x + bias).
struct EpilogueGrad2Args {
  EpilogueArgs forward;
  const void* dy;
  const void* ddx;
  const void* tangent_bias;
  void* d_dy;
  void* d_x;
};

// Square planes [in, in] of 8 bits -> [out, out]: both axes by the filter rows weights [out, taps], row o starting at input
// starts[o]; sums are clipped to [0, highest].
struct ResizeArgs {
  ParallelFor parallel;
  const uint8_t* x;
  float* y;
  const float* weights;
  const int64_t* starts;
  int64_t planes, in, out, taps;
  float highest;
};

// 3x3 convolution of [samples, height, width, channels], all of the same dtype but for the bias, which is float: kFloat, or
// kBFloat16 where the table of functions says so; sums are float. weight is [O, I, 3, 3] by its strides.
// - stride 1 and padding 1: in = I and out = O, or where transposed (its adjoint, with the kernel turned around) in = O and
//   out = I. The weight gradient takes x and dy (of `out` channels) to d_weight [out, 3, 3, in].
// - stride 2 and no padding ("down") and its adjoint ("up"): height and width are those of the smaller images, the larger
//   have 2 * height + 1 and 2 * width + 1. in = I and out = O for down and the weight gradient, in = O and out = I for up.
struct ConvolutionArgs {
  ParallelFor parallel;
  Dtype dtype;
  const void* x;
  int64_t samples, height, width, in, out;
  const void* weight;
  int64_t weight_out, weight_in, weight_y, weight_x;
  bool transposed;
  void* y;
  const void* dy;
  void* d_weight;
  // Stride 1 alone: y = (convolution + bias [out] + shortcut), 0 where mask <= 0 or, with relu, where it is negative. shortcut
  // and mask are like y; each may be null.
  const float* bias;
  const void *shortcut, *mask;
  bool relu;
};

struct Kernels {
  bool (*convolution_in_bfloat16)();  // whether convolutions take kBFloat16: with instructions that add products of pairs
  void (*upfirdn2d)(const UpfirdnArgs&);
  void (*epilogue)(const EpilogueArgs&);
  void (*epilogue_grad)(const EpilogueGradArgs&);
  void (*epilogue_grad2)(const EpilogueGrad2Args&);
  void (*resize_planes)(const ResizeArgs&);
  void (*convolution)(const ConvolutionArgs&);
  void (*convolution_weight_grad)(const ConvolutionArgs&);
  void (*convolution_down)(const ConvolutionArgs&);
  void (*convolution_up)(const ConvolutionArgs&);
  void (*convolution_down_weight_grad)(const ConvolutionArgs&);
};

}  // namespace gan_lt
