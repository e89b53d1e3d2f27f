// Feature maps as the Gram kernels read them, and the divisors of a Gram matrix.
#pragma once

#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <cmath>
#include <cstdint>
#include <vector>

#include "core/table.h"

namespace cnnfast {

template <typename E>
const GramKernels<E>& gram_kernels();
template <>
inline const GramKernels<float>& gram_kernels<float>() {
  return kernels().gram_float;
}
template <>
inline const GramKernels<double>& gram_kernels<double>() {
  return kernels().gram_double;
}
template <>
inline const GramKernels<half_bits>& gram_kernels<half_bits>() {
  return kernels().gram_half;
}
template <>
inline const GramKernels<bfloat16_bits>& gram_kernels<bfloat16_bits>() {
  return kernels().gram_bfloat16;
}

// x: (N, C, M) with any strides
template <typename E>
struct Features {
  const E* data;
  int64_t batch, channels, pixels;
  int64_t batch_stride, channel_stride, pixel_stride;

  explicit Features(const torch::stable::Tensor& x)
      : data(static_cast<const E*>(x.const_data_ptr())),
        batch(x.size(0)),
        channels(x.size(1)),
        pixels(x.size(2)),
        batch_stride(x.stride(0)),
        channel_stride(x.stride(1)),
        pixel_stride(x.stride(2)) {}
  // The same value everywhere.
  Features(const E* value, int64_t batch, int64_t pixels)
      : data(value), batch(batch), channels(1), pixels(pixels), batch_stride(0), channel_stride(0), pixel_stride(0) {}

  const E* at(int64_t n, int64_t c, int64_t k) const {
    return data + n * batch_stride + c * channel_stride + k * pixel_stride;
  }
  // Channels adjacent in memory: the layout of channels_last images.
  bool channels_last() const { return channels > 1 && channel_stride == 1 && pixel_stride > 1; }
};

// Pixel weights (1 or N, R, M), or none: then every weight is 1 and R is 1.
template <typename T>
struct PixelWeights {
  const T* data = nullptr;
  int64_t regions = 1, batch_stride = 0, pixels = 0;

  explicit PixelWeights(const torch::stable::Tensor* weight) {
    if (!weight) return;
    data = static_cast<const T*>(weight->const_data_ptr());
    regions = weight->size(1);
    pixels = weight->size(2);
    batch_stride = weight->size(0) == 1 ? 0 : regions * pixels;
  }
  const T* row(int64_t n, int64_t r) const { return data ? data + n * batch_stride + r * pixels : nullptr; }
};

enum class Normalize : int64_t { constant = 0, hw = 1, chw = 2 };

// 1 / Z for every image and region. 0 where Z is 0, since an empty region has a zero Gram matrix and zero gradients,
// and NaN where Z is infinite, as inf / inf is.
template <typename T>
std::vector<double> inverse_divisors(const PixelWeights<T>& weights, Normalize normalize, double divisor, int64_t batch,
                                     int64_t channels, int64_t pixels) {
  std::vector<double> result;
  for (int64_t n = 0; n < batch; ++n) {
    for (int64_t r = 0; r < weights.regions; ++r) {
      double sum = double(pixels);
      if (const T* row = weights.row(n, r)) {
        double lanes[8] = {};
        for (int64_t k = 0; k < pixels; ++k) lanes[k % 8] += double(row[k]);
        sum = ((lanes[0] + lanes[1]) + (lanes[2] + lanes[3])) + ((lanes[4] + lanes[5]) + (lanes[6] + lanes[7]));
      }
      const double z = normalize == Normalize::constant ? divisor
                       : normalize == Normalize::hw     ? sum
                                                        : sum * double(channels);
      result.push_back(z == 0 ? 0 : std::isinf(z) ? std::nan("") : 1 / z);
    }
  }
  return result;
}

}  // namespace cnnfast
