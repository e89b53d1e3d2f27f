// From squared distances to results in memory, on CUDA.
#pragma once

#include <cstdint>

#include "core/runtime.h"
#include "distance/distance_math.h"

namespace cnnfast::distance {

// The results: their kind and their memory.
struct DistanceFinish {
  DistanceResult result;
  int one_hot_bytes;     // of an element of the planes of bins, 0 for labels and distances
  uint64_t one;          // its bits
  int64_t plane_pixels;  // H W
  void* out;

  // pixel: its position in its plane
  template <typename Square>
  __device__ void operator()(int64_t plane, int64_t pixel, bool foreground, Square square) const {
    const int64_t at = plane * plane_pixels + pixel;
    switch (result.kind) {
      case DistanceKind::bins:
        static_cast<uint8_t*>(out)[at] = foreground ? uint8_t(result.bin(square)) : 0;
        break;
      case DistanceKind::one_hot:
        store_one_hot(plane, pixel, foreground ? result.bin(square) : 0);
        break;
      case DistanceKind::distance:
        static_cast<float*>(out)[at] = foreground ? result.distance(square) : 0.0f;
        break;
      case DistanceKind::squared_int32:
        static_cast<int32_t*>(out)[at] = foreground ? int32_t(result.squared_pixels(square)) : 0;
        break;
      case DistanceKind::squared_int64:
        static_cast<int64_t*>(out)[at] = foreground ? result.squared_pixels(square) : 0;
        break;
      case DistanceKind::squared_units:
        static_cast<float*>(out)[at] = foreground ? result.squared_units(square) : 0.0f;
        break;
      case DistanceKind::signed_distance:
        static_cast<float*>(out)[at] = result.signed_distance(square, foreground);
        break;
    }
  }

 private:
  __device__ void store_one_hot(int64_t plane, int64_t pixel, int bin) const {
    if (one_hot_bytes == 1) return store_planes<uint8_t>(plane, pixel, bin);
    if (one_hot_bytes == 2) return store_planes<uint16_t>(plane, pixel, bin);
    if (one_hot_bytes == 4) return store_planes<uint32_t>(plane, pixel, bin);
    store_planes<uint64_t>(plane, pixel, bin);
  }
  template <typename Bits>
  __device__ void store_planes(int64_t plane, int64_t pixel, int bin) const {
    Bits* to = static_cast<Bits*>(out) + plane * result.bins * plane_pixels + pixel;
    for (int n = 1; n <= result.bins; ++n, to += plane_pixels) *to = n == bin ? Bits(one) : Bits(0);
  }
};

}  // namespace cnnfast::distance
