// Bins and radii as the CPU kernels see them.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/tensors.h"
#include "discs/table.h"

namespace cnnfast::discs {

// bins: (N, K, H, W) with any strides
template <typename E>
struct Bins {
  const E* data;
  int64_t images, kinds, height, width;
  int64_t image_stride, kind_stride, row_stride, column_stride;

  explicit Bins(const Tensor& bins)
      : data(static_cast<const E*>(bins.const_data_ptr())),
        images(bins.size(0)),
        kinds(bins.size(1)),
        height(bins.size(2)),
        width(bins.size(3)),
        image_stride(bins.stride(0)),
        kind_stride(bins.stride(1)),
        row_stride(bins.stride(2)),
        column_stride(bins.stride(3)) {}

  const E* at(int64_t i, int64_t n, int64_t y, int64_t x) const {
    return data + i * image_stride + n * kind_stride + y * row_stride + x * column_stride;
  }
};

// The radii, cut to what reaches every pixel of the padded plane from every pixel of the plane.
inline std::vector<int64_t> effective_radii(std::vector<int64_t> radii, int64_t height, int64_t width, int64_t pad) {
  for (int64_t& radius : radii) radius = std::min(radius, height + width + 2 * pad);
  return radii;
}

inline int64_t largest(const std::vector<int64_t>& radii) { return *std::max_element(radii.begin(), radii.end()); }

}  // namespace cnnfast::discs
