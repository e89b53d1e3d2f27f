// Tiles of the Gram kernels on CUDA: panels of two operands are moved from memory to shared memory, and multiplied. 256
// threads own a tile of 64 x 64 results, 4 x 4 each; a panel is 64 (wide) x 32 (deep) elements.
#pragma once

#include <cstdint>

#include "core/runtime.h"
#include "core/types.h"

namespace cnnfast::gram {

constexpr int kTile = 64;
constexpr int kDepth = 32;  // also the longest sum in T: equal terms round to the same side, and the error grows
constexpr int kThreads = 256;
constexpr int kMicro = 4;
constexpr int kTurns = kTile * kDepth / kThreads;  // elements of a panel that one thread moves
constexpr int kPanelStride = kTile + 4;            // rows of a panel begin in different banks, at 16 bytes

template <typename T>
using Panel = T[kDepth][kPanelStride];
template <typename T>
using Micro = T[kMicro][kMicro];

// Which elements of a panel a thread moves, one a turn. Neighbours in memory go to neighbouring lanes; where those are
// deep neighbours, a warp takes 8 of them (32 bytes of float32) in 4 rows, so that its lanes write to different banks.
template <bool wide_is_adjacent>
struct Route {
  static constexpr int wide_step = wide_is_adjacent ? 0 : kTile / 2 / kTurns;
  static constexpr int deep_step = wide_is_adjacent ? kThreads / kTile : 0;

  __device__ static int wide() {
    return wide_is_adjacent ? threadIdx.x % kTile : threadIdx.x / 128 * (kTile / 2) + threadIdx.x % 32 / 8;
  }
  __device__ static int deep() {
    return wide_is_adjacent ? threadIdx.x / kTile : threadIdx.x / 32 % 4 * 8 + threadIdx.x % 8;
  }
};

// One operand's panels on their way from memory through registers to shared memory: the next panel is fetched while
// the present one is multiplied.
template <typename E>
class PanelMover {
 public:
  using T = accumulate_t<E>;

  // Element (wide, deep) of the first panel is data[wide * wide_stride + deep * deep_stride].
  __device__ PanelMover(int64_t wide_stride, int64_t deep_stride)
      : wide_is_adjacent_(wide_stride == 1 || deep_stride != 1), wide_stride_(wide_stride), deep_stride_(deep_stride) {}

  // Fetches the elements with wide < wides and deep < deeps; the others are zero.
  __device__ void fetch(const E* panel, int wides, int deeps) {
    wides_ = wides, deeps_ = deeps;
    if (wide_is_adjacent_) {
      fetch_along<Route<true>>(panel);
    } else {
      fetch_along<Route<false>>(panel);
    }
  }

  // Stores the fetched panel; each element inside becomes change(value, wide, deep).
  template <typename Change>
  __device__ void store(const Change& change, Panel<T>& panel) const {
    if (wide_is_adjacent_) {
      store_along<Route<true>>(change, panel);
    } else {
      store_along<Route<false>>(change, panel);
    }
  }

 private:
  template <typename R>
  __device__ bool inside(int turn) const {
    return R::wide() + turn * R::wide_step < wides_ && R::deep() + turn * R::deep_step < deeps_;
  }
  template <typename R>
  __device__ void fetch_along(const E* panel) {
    const E* element = panel + R::wide() * wide_stride_ + R::deep() * deep_stride_;
    const int64_t step = R::wide_step * wide_stride_ + R::deep_step * deep_stride_;
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn, element += step) {
      values_[turn] = E(0.0f);
      if (inside<R>(turn)) values_[turn] = *element;
    }
  }
  template <typename R, typename Change>
  __device__ void store_along(const Change& change, Panel<T>& panel) const {
#pragma unroll
    for (int turn = 0; turn < kTurns; ++turn) {
      const int wide = R::wide() + turn * R::wide_step, deep = R::deep() + turn * R::deep_step;
      T value = T(values_[turn]);
      if (inside<R>(turn)) value = change(value, wide, deep);
      panel[deep][wide] = value;
    }
  }

  bool wide_is_adjacent_;
  int64_t wide_stride_, deep_stride_;
  int wides_ = 0, deeps_ = 0;
  E values_[kTurns];
};

// How many of the elements from `begin` to `end` a panel's side holds.
__device__ inline int part_of(int64_t begin, int64_t end, int side) {
  return end - begin < side ? int(end - begin) : side;
}
// The thread's 4 x 4 results inside the tile: 8 lanes beside each other, 4 below, so that a warp reads few banks.
struct MicroPlace {
  int row, column;
};
__device__ inline MicroPlace micro_place() {
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
  return {(warp / 2 * 4 + lane / 8) * kMicro, (warp % 2 * 8 + lane % 8) * kMicro};
}

// Four neighbours as one access where they are aligned.
template <typename T>
struct alignas(sizeof(T) > 4 ? 16 : 4 * sizeof(T)) Four {
  T value[4];
};

template <typename T>
__device__ inline void multiply_panels(const Panel<T>& left, const Panel<T>& right, MicroPlace at, Micro<T>& sums) {
#pragma unroll 4
  for (int k = 0; k < kDepth; ++k) {
    const Four<T> a = *reinterpret_cast<const Four<T>*>(&left[k][at.row]);
    const Four<T> b = *reinterpret_cast<const Four<T>*>(&right[k][at.column]);
#pragma unroll
    for (int i = 0; i < kMicro; ++i)
#pragma unroll
      for (int j = 0; j < kMicro; ++j) sums[i][j] += a.value[i] * b.value[j];
  }
}

// Sums of many terms: float32 with the rounding errors added up beside them (Knuth's two-sum), float64 as it is.
template <typename T>
class LongSums;

template <>
class LongSums<double> {
 public:
  __device__ void add(const Micro<double>& terms) {
    for (int i = 0; i < kMicro; ++i)
      for (int j = 0; j < kMicro; ++j) sums_[i][j] += terms[i][j];
  }
  __device__ double value(int i, int j) const { return sums_[i][j]; }

 private:
  Micro<double> sums_ = {};
};

template <>
class LongSums<float> {
 public:
  __device__ void add(const Micro<float>& terms) {
#pragma unroll
    for (int i = 0; i < kMicro; ++i) {
#pragma unroll
      for (int j = 0; j < kMicro; ++j) {
        const float term = terms[i][j], old = sums_[i][j], sum = old + term, added = sum - old;
        errors_[i][j] += (old - (sum - added)) + (term - added);
        sums_[i][j] = sum;
      }
    }
  }
  // The rounding errors of an infinite sum are NaN.
  __device__ float value(int i, int j) const {
    return sums_[i][j] - sums_[i][j] == 0 ? sums_[i][j] + errors_[i][j] : sums_[i][j];
  }

 private:
  Micro<float> sums_ = {}, errors_ = {};
};

}  // namespace cnnfast::gram
