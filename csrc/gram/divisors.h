// The divisors of Gram matrices on the CPU.
#pragma once

#include <cstdint>
#include <vector>

#include "gram/features.h"
#include "gram/gram_math.h"

namespace cnnfast::gram {

// 1 / Z for every image and region.
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
      result.push_back(inverse_divisor(normalize, divisor, sum, channels));
    }
  }
  return result;
}

}  // namespace cnnfast::gram
