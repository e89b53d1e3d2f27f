// Arithmetic of discs that the CPU and CUDA share.
#pragma once

#include <cmath>

#include "core/types.h"

namespace cnnfast::discs {

// The largest h with h^2 <= radius^2 - dy^2: a closed disc's row dy is 2 h + 1 pixels wide; -1 where |dy| > radius.
// Both are less than 2^15, so that the root of a float is wrong by less than 1.
CNNFAST_HOST_DEVICE inline int half_width(int radius, int dy) {
  const int square = radius * radius - dy * dy;
  if (square < 0) return -1;
  int root = int(sqrtf(float(square)));
  root -= root * root > square;
  root += (root + 1) * (root + 1) <= square;
  return root;
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

}  // namespace cnnfast::discs
