// Sums over discs on CUDA, and their gradients. No atomics: the bits do not depend on the order of the blocks.
#pragma once

#include <cstdint>

#include "core/cuda_total.h"
#include "core/runtime.h"
#include "core/types.h"
#include "discs/cuda_rows.h"
#include "discs/cuda_tiling.h"
#include "discs/discs_math.h"

namespace cnnfast::discs {

template <typename E>
__device__ inline accumulate_t<E> kept_below_one(E b) {
  using T = accumulate_t<E>;
  const T limit = T(1 - Uncertainty<E>::value);
  return T(b) > limit ? limit : T(b);
}

// The source of a sum: planes of E that are summed in T.
template <typename E>
struct SummedDiscs {
  using T = accumulate_t<E>;
  using Value = T;
  struct Disc {
    const E* plane;
    int width, radius;
    T weight;
    __device__ T at(int row, int column) const { return weight * T(plane[int64_t(row) * width + column]); }
  };

  const DiscRadii& radii;
  const E* planes;
  int64_t plane_stride;  // from a disc's plane to the next one's, 0: all have the same
  const T* weight;       // (K), or null
  int height, width, shift, first, last, reach;

  __device__ static T none() { return 0; }
  __device__ static T join(T a, T b) { return a + b; }
  __device__ Disc disc(int n) const {
    return {planes + n * plane_stride, width, radii.radius[n], weight ? weight[n] : T(1)};
  }
};

template <typename E>
struct DiscSumArguments {
  using T = accumulate_t<E>;
  DiscRadii radii;
  DiscTiling tiling;
  const E* bins;    // (N, K, height, width)
  const T* weight;  // (K), or null
  int height, width, pad;
  T* out;  // (N, 1, height + 2 pad, width + 2 pad)
};

template <typename E>
__global__ void __launch_bounds__(kDiscThreads) disc_sum_kernel(const DiscSumArguments<E> a) {
  using T = accumulate_t<E>;
  const DiscCells cells(a.tiling);
  const int64_t plane = int64_t(a.height) * a.width;
  const int count = a.radii.count, reach = a.tiling.reach;
  const E* bins = a.bins + cells.plane * count * plane;
  const SummedDiscs<E> source = {a.radii, bins, plane, a.weight, a.height, a.width, -a.pad, 0, count, reach};
  T sums[kDiscItems];
  join_discs(source, a.tiling, cells, sums);
  T* out = a.out + cells.plane * a.tiling.height * a.tiling.width;
#pragma unroll
  for (int i = 0; i < kDiscItems; ++i)
    if (cells.has_result(a.tiling, i)) out[int64_t(cells.row[i]) * a.tiling.width + cells.column(i)] = sums[i];
}

template <typename E>
struct DiscSumBackwardArguments {
  using T = accumulate_t<E>;
  DiscRadii radii;
  DiscTiling tiling;
  const T* grad;    // (N, 1, height, width)
  const E* bins;    // (N, K, height - 2 pad, width - 2 pad)
  const T* weight;  // (K), or null
  int height, width, pad;
  int64_t images;
  bool noisy_or;
  E* bins_grad;          // like bins, or null
  double* weight_parts;  // (K, N, tiles), or null
};

// A block has a tile of one bin of one image.
template <typename E>
__global__ void __launch_bounds__(kDiscThreads) disc_sum_backward_kernel(const DiscSumBackwardArguments<E> a) {
  using T = accumulate_t<E>;
  const DiscCells cells(a.tiling);
  const int n = int(cells.plane % a.radii.count);
  const int64_t image = cells.plane / a.radii.count;
  const SummedDiscs<T> source = {
      a.radii, a.grad + image * a.height * a.width, 0, nullptr, a.height, a.width, a.pad, n, n + 1, a.radii.radius[n]};
  T sums[kDiscItems];
  join_discs(source, a.tiling, cells, sums);
  const int64_t plane = cells.plane * a.tiling.height * a.tiling.width;
  const T weight = a.weight ? a.weight[n] : T(1);
  double part = 0;
#pragma unroll
  for (int i = 0; i < kDiscItems; ++i) {
    if (!cells.has_result(a.tiling, i)) continue;
    const int64_t at = plane + int64_t(cells.row[i]) * a.tiling.width + cells.column(i);
    if (a.bins_grad) a.bins_grad[at] = E(a.noisy_or ? sums[i] / (1 - kept_below_one(a.bins[at])) : weight * sums[i]);
    if (a.weight_parts) part += double(a.bins[at]) * double(sums[i]);
  }
  if (!a.weight_parts) return;
  part = block_total(part);
  if (threadIdx.x == 0) a.weight_parts[(n * a.images + image) * a.tiling.tiles() + cells.tile] = part;
}

// out: -log(1 - bins)
template <typename E>
__global__ void __launch_bounds__(kDiscThreads)
    evidence_kernel(const E* bins, const int64_t count, accumulate_t<E>* out) {
  const int64_t i = int64_t(blockIdx.x) * kDiscThreads + threadIdx.x;
  if (i < count) out[i] = -log1p(-kept_below_one(bins[i]));
}

}  // namespace cnnfast::discs
