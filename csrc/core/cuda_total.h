// Sums on CUDA whose bits do not depend on the order in which threads and blocks run.
#pragma once

#include <cstdint>

#include "core/runtime.h"

namespace cnnfast {

constexpr int kTotalThreads = 256;

// Sums one value of each of a block's kTotalThreads threads; thread 0 receives the total.
__device__ inline double block_total(double value) {
  CNNFAST_SHARED(double, sums, [kTotalThreads]);
  sums[threadIdx.x] = value;
  for (int half = kTotalThreads / 2; half > 0; half /= 2) {
    __syncthreads();
    if (threadIdx.x < unsigned(half)) sums[threadIdx.x] += sums[threadIdx.x + half];
  }
  return sums[threadIdx.x];
}

// Block i sums the `count` values from totals[i * count] on.
template <typename T>
__global__ void __launch_bounds__(kTotalThreads) total_kernel(const double* totals, const int64_t count, T* out) {
  double sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += kTotalThreads) sum += totals[blockIdx.x * count + i];
  const double total = block_total(sum);
  if (threadIdx.x == 0) out[blockIdx.x] = T(total);
}

}  // namespace cnnfast
