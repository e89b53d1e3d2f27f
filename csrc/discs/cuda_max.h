// The largest value on discs on CUDA, and where it is.
#pragma once

#include <cstdint>
#include <limits>

#include "core/runtime.h"
#include "core/types.h"
#include "discs/cuda_rows.h"
#include "discs/cuda_tiling.h"

namespace cnnfast::discs {

template <typename T>
struct Placed {
  T value;
  int64_t index;  // into an image's (K, H, W); -1: nothing
};

template <typename E>
struct LargestOnDiscs {
  using T = accumulate_t<E>;
  using Value = Placed<T>;
  struct Disc {
    const E* plane;
    int64_t first_index;
    int width, radius;
    __device__ Value at(int row, int column) const {
      const int64_t pixel = int64_t(row) * width + column;
      return {T(plane[pixel]), first_index + pixel};
    }
  };

  const DiscRadii& radii;
  const E* planes;
  int height, width, shift, first, last, reach;

  __device__ static Value none() { return {-std::numeric_limits<T>::infinity(), -1}; }
  __device__ static Value join(const Value& a, const Value& b) { return precedes(b, a) ? b : a; }
  __device__ Disc disc(int n) const {
    const int64_t index = int64_t(n) * height * width;
    return {planes + index, index, width, radii.radius[n]};
  }

 private:
  // Whether a is larger than b, NaN being the largest, or equal with a smaller index. -infinity equals none(), so
  // none() wins.
  __device__ static bool precedes(const Value& a, const Value& b) {
    const bool a_nan = a.value != a.value, b_nan = b.value != b.value;
    if (a_nan != b_nan) return a_nan;
    return a.value > b.value || ((a_nan || a.value == b.value) && a.index < b.index);
  }
};

template <typename E>
struct DiscMaxArguments {
  DiscRadii radii;
  DiscTiling tiling;
  const E* bins;  // (N, K, height, width)
  int height, width, pad;
  E* out;          // (N, 1, height + 2 pad, width + 2 pad)
  int64_t* index;  // the same shape
};

template <typename E>
__global__ void __launch_bounds__(kDiscThreads) disc_max_kernel(const DiscMaxArguments<E> a) {
  const DiscCells cells(a.tiling);
  const E* planes = a.bins + cells.plane * a.radii.count * a.height * a.width;
  const LargestOnDiscs<E> source = {a.radii, planes, a.height, a.width, -a.pad, 0, a.radii.count, a.tiling.reach};
  Placed<accumulate_t<E>> largest[kDiscItems];
  join_discs(source, a.tiling, cells, largest);
  const int64_t plane = cells.plane * a.tiling.height * a.tiling.width;
#pragma unroll
  for (int i = 0; i < kDiscItems; ++i) {
    if (!cells.has_result(a.tiling, i)) continue;
    const int64_t at = plane + int64_t(cells.row[i]) * a.tiling.width + cells.column(i);
    a.out[at] = largest[i].index < 0 ? E(0.0f) : E(largest[i].value);
    a.index[at] = largest[i].index;
  }
}

}  // namespace cnnfast::discs
