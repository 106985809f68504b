// Tensors on LibTorch's stable ABI: memory formats, new tensors, small parameters, and how an operation views them.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <optional>
#include <stdexcept>
#include <vector>

#include "kernels.h"

namespace gan_lt {

using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;
using MaybeTensor = std::optional<Tensor>;

// Whether the last strides match a dense layout; strides of dimensions of size 1 do not matter.
inline bool is_channels_last(const Tensor& t) {
  if (t.dim() != 4) return false;
  const auto size = t.sizes();
  const auto stride = t.strides();
  int64_t expected = 1;
  for (int d : {1, 3, 2, 0}) {
    if (size[d] != 1 && stride[d] != expected) return false;
    expected *= size[d];
  }
  return true;
}

// Copies. torch's C interface keeps only that one failed; no memory is the one reason that these can have.
inline Tensor dense_copy(const Tensor& t, MemoryFormat format = MemoryFormat::Contiguous) {
  try {
    return torch::stable::contiguous(t, format);
  } catch (const std::runtime_error&) {
    no_memory(uint64_t(t.numel()) * t.element_size());
  }
}
inline Tensor converted(const Tensor& t, ScalarType type) {
  try {
    return torch::stable::to(t, type);
  } catch (const std::runtime_error&) {
    no_memory(uint64_t(t.numel()) * (type == ScalarType::Double ? 8 : 4));
  }
}

// A dense tensor and its format. Tensors that are dense both ways (one channel or one pixel) count as contiguous.
struct Dense {
  Tensor tensor;
  bool channels_last;

  explicit Dense(const Tensor& t) : tensor(t), channels_last(false) {
    if (t.is_contiguous()) return;
    channels_last = is_channels_last(t);
    if (!channels_last) tensor = dense_copy(t);
  }
};

// t in a given format.
inline Tensor in_format(const Tensor& t, bool channels_last) {
  if (channels_last)
    return is_channels_last(t) ? t : dense_copy(t, MemoryFormat::ChannelsLast);
  return t.is_contiguous() ? t : dense_copy(t);
}

inline int32_t raw_dtype(const Tensor& t) {
  int32_t dtype;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_dtype(t.get(), &dtype));
  return dtype;
}

inline Tensor empty(const std::vector<int64_t>& sizes, bool channels_last, int32_t dtype, const Tensor& like) {
  std::vector<int64_t> strides(sizes.size());
  int64_t stride = 1;
  const auto set = [&](size_t d) {
    strides[d] = stride;
    stride *= sizes[d] > 1 ? sizes[d] : 1;
  };
  if (channels_last) {
    for (size_t d : {1, 3, 2, 0}) set(d);
  } else {
    for (size_t d = sizes.size(); d-- > 0;) set(d);
  }
  int32_t device_type, device_index;
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_type(like.get(), &device_type));
  STABLE_TORCH_ERROR_CODE_CHECK(aoti_torch_get_device_index(like.get(), &device_index));
  AtenTensorHandle handle;
  // torch's C interface keeps only that it failed; with strides as above no memory is the one reason
  if (aoti_torch_empty_strided(int64_t(sizes.size()), sizes.data(), strides.data(), dtype, device_type, device_index,
                               &handle) != TORCH_SUCCESS)
    no_memory(uint64_t(stride) * like.element_size());
  return Tensor(handle);
}

inline Tensor empty_like(const Tensor& t, bool channels_last) {
  const auto sizes = t.sizes();
  return empty(std::vector<int64_t>(sizes.begin(), sizes.end()), channels_last, raw_dtype(t), t);
}

// The type that sums run in: double for double, float for all others.
inline ScalarType accumulator(const Tensor& t) {
  return t.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}
inline int32_t raw_accumulator(const Tensor& t) {
  return torch::stable::detail::to<int32_t>(torch::stable::detail::from(accumulator(t)));
}

// A parameter (bias, demodulation, noise) as contiguous values of x's accumulator type; keeps the tensor alive.
struct Parameter {
  MaybeTensor tensor;

  Parameter(const MaybeTensor& parameter, const Tensor& x) : tensor(parameter) {
    if (!tensor) return;
    if (tensor->scalar_type() != accumulator(x)) tensor = converted(*tensor, accumulator(x));
    if (!tensor->is_contiguous()) tensor = dense_copy(*tensor);
  }
  const void* data() const { return tensor ? tensor->data_ptr() : nullptr; }
};

// How bias_act sees a dense tensor whose bias runs along `dim`: [samples, pixels, channels] where channels_last, else
// [samples, channels, pixels]. Without a bias it is one run of values.
struct BiasView {
  bool channels_last;
  int64_t samples, pixels, channels;

  BiasView(const Tensor& x, bool dense_channels_last, int64_t dim, bool has_bias) {
    const auto size = x.sizes();
    samples = 1, pixels = x.numel(), channels = 1, channels_last = false;
    if (!has_bias) return;
    channels = size[dim];
    if (dense_channels_last) {
      channels_last = true;
      pixels = channels ? x.numel() / channels : 0;
      return;
    }
    pixels = 1;
    for (int64_t d = 0; d < x.dim(); d++) (d < dim ? samples : pixels) *= d == dim ? 1 : size[d];
    if (pixels == 1) channels_last = true, pixels = samples, samples = 1;
  }
};

inline int64_t upfirdn2d_size(int64_t size, int64_t up, int64_t down, int64_t pad0, int64_t pad1, int64_t taps) {
  return (size * up + pad0 + pad1 - taps) / down + 1;
}

}  // namespace gan_lt
