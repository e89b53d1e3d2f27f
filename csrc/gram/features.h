// Feature maps and pixel weights as the kernels of every device read them.
#pragma once

#include <cstdint>

#include "core/tensors.h"
#include "core/types.h"

namespace cnnfast::gram {

// x: (N, C, M) with any strides
template <typename E>
struct Features {
  const E* data;
  int64_t batch, channels, pixels;
  int64_t batch_stride, channel_stride, pixel_stride;

  explicit Features(const Tensor& x)
      : data(static_cast<const E*>(x.const_data_ptr())),
        batch(x.size(0)),
        channels(x.size(1)),
        pixels(x.size(2)),
        batch_stride(x.stride(0)),
        channel_stride(x.stride(1)),
        pixel_stride(x.stride(2)) {}
  // One channel whose elements are all *value.
  Features(const E* value, int64_t batch, int64_t pixels)
      : data(value), batch(batch), channels(1), pixels(pixels), batch_stride(0), channel_stride(0), pixel_stride(0) {}

  CNNFAST_HOST_DEVICE const E* at(int64_t n, int64_t c, int64_t k) const {
    return data + n * batch_stride + c * channel_stride + k * pixel_stride;
  }
  // Channels adjacent in memory: the layout of channels_last images.
  CNNFAST_HOST_DEVICE bool channels_last() const { return channels > 1 && channel_stride == 1 && pixel_stride > 1; }
};

// Pixel weights (1 or N, R, M), or none: then every weight is 1 and R is 1.
template <typename T>
struct PixelWeights {
  const T* data = nullptr;
  int64_t regions = 1, batch_stride = 0, pixels = 0;

  explicit PixelWeights(const Tensor* weight) {
    if (!weight) return;
    data = static_cast<const T*>(weight->const_data_ptr());
    regions = weight->size(1);
    pixels = weight->size(2);
    batch_stride = weight->size(0) == 1 ? 0 : regions * pixels;
  }
  CNNFAST_HOST_DEVICE const T* row(int64_t n, int64_t r) const {
    return data ? data + n * batch_stride + r * pixels : nullptr;
  }
};

}  // namespace cnnfast::gram
