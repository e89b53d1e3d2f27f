// What the Gram kernels for tensor cores share: panels that asynchronous copies bring from memory to shared memory, and
// the places of a warp's results. As in cuda_tile.h, 256 threads own a tile of 64 x 64 results: 8 warps, 16 x 32 each.
#pragma once

#include <cstdint>
#include <type_traits>

#include "core/runtime.h"
#include "gram/cuda_tile.h"

namespace cnnfast::gram {

template <typename E>
inline constexpr bool has_mma = !std::is_same_v<E, double>;

// Elements along the depth that one instruction multiplies.
template <typename E>
inline constexpr int kStep = 32 / int(sizeof(E));

// `rows` rows of `columns` elements that are neighbours in memory, in shared memory `stride` elements apart.
template <typename T, int rows, int columns, int stride_>
struct CopiedPanel {
  static constexpr int stride = stride_, elements = rows * stride;
  static constexpr int per_copy = 16 / int(sizeof(T)), copies_per_row = columns / per_copy;
  static_assert(stride % per_copy == 0 && columns % per_copy == 0 && rows * copies_per_row % kThreads == 0);

  struct alignas(16) Elements {
    T value[per_copy];
  };

  // Starts to copy the elements with row < existing_rows and column < existing_columns; the others become zero. Rows
  // that do not begin at multiples of 16 bytes are copied synchronously.
  __device__ static void copy(const T* source, int64_t row_stride, int existing_rows, int existing_columns, T* panel) {
    const bool aligned = reinterpret_cast<uintptr_t>(source) % 16 == 0 && row_stride * int64_t(sizeof(T)) % 16 == 0;
#pragma unroll
    for (int index = threadIdx.x; index < rows * copies_per_row; index += kThreads) {
      const int row = index / copies_per_row, column = index % copies_per_row * per_copy;
      const int left = row < existing_rows ? existing_columns - column : 0;
      const int count = left < 0 ? 0 : left < per_copy ? left : per_copy;
      const T* from = source + row * row_stride + column;
      T* to = panel + row * stride + column;
      if (aligned) {
        copy_async(to, from, count * int(sizeof(T)));
      } else {
        Elements elements;
        for (int i = 0; i < per_copy; ++i) elements.value[i] = i < count ? from[i] : T(0.0f);
        *reinterpret_cast<Elements*>(to) = elements;
      }
    }
  }
};

// A warp's part of the tile, and the lane as the instructions count it.
struct MmaPlace {
  int row, column;  // of the warp's results
  int group, word;  // lane / 4, lane % 4

  // Whether any of them exist. A warp without results copies panels for the others, but multiplies nothing.
  __device__ bool exists(int rows, int columns) const { return row < rows && column < columns; }
};
__device__ inline MmaPlace mma_place() {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  return {warp / 2 * 16, warp % 2 * 32, lane / 4, lane % 4};
}

}  // namespace cnnfast::gram
