// Arithmetic of the distance transforms that CPU and CUDA share: from a squared distance to the result.
#pragma once

#include <cmath>
#include <cstdint>

#include "core/types.h"

namespace cnnfast::distance {

enum class DistanceKind { bins, one_hot, distance, squared_int32, squared_int64, squared_units, signed_distance };

// The squared distance, in pixels, of a pixel without a site; sums with squares of offsets do not overflow.
constexpr int64_t kNowhere = int64_t(1) << 62;
// Factor of distances in units before they are rounded up: rounding errors may have lifted one above a whole number.
constexpr double kRoundingUp = 1 - 1e-6;

// Squares are whole numbers of pixels, `spacing` units wide, or float64 in units (then `spacing` is not used).
struct DistanceResult {
  DistanceKind kind;
  double radius;  // infinity: none
  double spacing;
  bool in_pixels;          // both spacings are 1
  double inside, outside;  // subtracted from signed distances
  int bins, whole_radius;  // K and R

  CNNFAST_HOST_DEVICE double root(double square) const { return sqrt(square); }
  CNNFAST_HOST_DEVICE double root(int64_t square) const {
    return square >= kNowhere ? double(INFINITY) : sqrt(double(square)) * spacing;
  }
  CNNFAST_HOST_DEVICE double root(int square) const { return root(int64_t(square)); }

  template <typename Square>
  CNNFAST_HOST_DEVICE int bin(Square square) const {
    const double d = root(square), whole = ceil(in_pixels ? d : d * kRoundingUp);
    return bin_of(whole < radius ? int(whole) : whole_radius);
  }
  // Small squares of pixels, without float64, which is slow on many GPUs: their truncated float32 root is exact.
  CNNFAST_HOST_DEVICE int bin(int square) const {
    if (!in_pixels) return bin(int64_t(square));
    const int floor = int(sqrtf(float(square))), whole = floor + (floor * floor < square);
    return bin_of(whole < whole_radius ? whole : whole_radius);
  }
  template <typename Square>
  CNNFAST_HOST_DEVICE float distance(Square square) const {
    const double d = root(square);
    return float(d < radius ? d : radius);
  }
  CNNFAST_HOST_DEVICE int64_t squared_pixels(int64_t square) const {
    const double most = radius * radius;
    if (square >= kNowhere) return most < 9e18 ? int64_t(most) : INT64_MAX;
    return double(square) < most ? square : int64_t(most);
  }
  CNNFAST_HOST_DEVICE int64_t squared_pixels(int square) const { return squared_pixels(int64_t(square)); }
  CNNFAST_HOST_DEVICE int64_t squared_pixels(double square) const { return int64_t(square); }
  CNNFAST_HOST_DEVICE float squared_units(double square) const {
    return float(square < radius * radius ? square : radius * radius);
  }
  CNNFAST_HOST_DEVICE float squared_units(int64_t square) const {
    return squared_units(square >= kNowhere ? double(INFINITY) : double(square) * (spacing * spacing));
  }
  CNNFAST_HOST_DEVICE float squared_units(int square) const { return squared_units(int64_t(square)); }
  template <typename Square>
  CNNFAST_HOST_DEVICE float signed_distance(Square square, bool foreground) const {
    const double d = root(square) - (foreground ? inside : outside);
    const double limited = d < radius ? d : radius;
    return float(foreground ? limited : -limited);
  }

 private:
  CNNFAST_HOST_DEVICE int bin_of(int distance) const {
    return bins == whole_radius ? distance : (distance * bins + whole_radius - 1) / whole_radius;
  }
};

}  // namespace cnnfast::distance
