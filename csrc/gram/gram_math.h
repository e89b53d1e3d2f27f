// Arithmetic of the Gram family that the CPU and CUDA share.
#pragma once

#include <cstdint>

#include "core/types.h"

namespace cnnfast::gram {

enum class Normalize : int64_t { constant = 0, hw = 1, chw = 2 };

// 1 / Z. 0 where Z is 0, since an empty region has a zero Gram matrix and zero gradients, and NaN where Z is infinite,
// as inf / inf is. weight_sum: the sum of the region's pixel weights, the number of pixels without weights.
CNNFAST_HOST_DEVICE inline double inverse_divisor(Normalize normalize, double divisor, double weight_sum,
                                                  int64_t channels) {
  const double z = normalize == Normalize::constant ? divisor
                   : normalize == Normalize::hw     ? weight_sum
                                                    : weight_sum * double(channels);
  if (z == 0) return 0;
  return z - z == 0 ? 1 / z : z - z;
}

// 0 / 0 is an empty region, whose matrix is zero whatever the features hold.
CNNFAST_HOST_DEVICE inline double divided(double sum, double inverse) { return inverse == 0 ? 0 : sum * inverse; }

}  // namespace cnnfast::gram
