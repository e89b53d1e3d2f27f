// Squared distances as the kernels compare them: of pixels in whole numbers, of unequal spacings in float64.
#pragma once

#include "core/runtime.h"

namespace cnnfast::distance {

// Numbers of pixels; S is int where all squares fit.
template <typename S>
struct PixelSquares {
  using Square = S;
  S limit;  // where the search ends: nothing that is farther changes the result

  __device__ S vertical(int steps) const { return S(steps) * S(steps); }
  __device__ S horizontal(int steps) const { return S(steps) * S(steps); }
  __device__ static S sum(S a, S b) { return a + b; }
};

// Units, spacing_y apart in a column and spacing_x in a row. No fused multiply-add: all devices round alike.
struct UnitSquares {
  using Square = double;
  double limit;
  double weight_y, weight_x;  // the spacings squared

  __device__ double vertical(int steps) const { return __dmul_rn(weight_y, double(steps) * double(steps)); }
  __device__ double horizontal(int steps) const { return __dmul_rn(weight_x, double(steps) * double(steps)); }
  __device__ static double sum(double a, double b) { return __dadd_rn(a, b); }
};

}  // namespace cnnfast::distance
