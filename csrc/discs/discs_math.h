// Arithmetic of discs that the CPU and CUDA share.
#pragma once

#include <cstdint>

#include "core/types.h"

namespace cnnfast {

// The largest h with h^2 <= radius^2 - dy^2: a closed disc's row dy is 2 h + 1 pixels wide. |dy| <= radius < 2^15.
CNNFAST_HOST_DEVICE inline int64_t half_width(int64_t radius, int64_t dy) {
  const int64_t square = radius * radius - dy * dy;
  int64_t low = 0, high = radius + 1;  // low^2 <= square < high^2
  while (high - low > 1) {
    const int64_t middle = (low + high) / 2;
    (middle * middle <= square ? low : high) = middle;
  }
  return low;
}

// How far a probability stays away from 1 before its logarithm is taken.
template <typename E>
struct Uncertainty {
  static constexpr double value = 1e-3;
};
template <>
struct Uncertainty<float> {
  static constexpr double value = 1e-6;
};
template <>
struct Uncertainty<double> {
  static constexpr double value = 1e-12;
};

}  // namespace cnnfast
