// Products of feature maps on tensor cores, sum_k x_ik y_jk, into the same workspace as products_kernel. Products of
// halves are exact, those of float32 have the precision of TF32; sums are float32.
#pragma once

#include <cstdint>
#include <type_traits>

#include "gram/cuda_mma.h"
#include "gram/cuda_products.h"

namespace cnnfast::gram {

// A panel is 128 bytes deep. If `last`, its rows are pixels, else channels. The 8 rows that an access touches, or the 4
// rows of TF32 if last, begin in different banks.
template <typename E>
inline constexpr int kProductsDepth = 128 / int(sizeof(E));
template <typename E, bool last>
using ProductsPanel =
    std::conditional_t<last, CopiedPanel<E, kProductsDepth<E>, kTile, kTile + 8>,
                       CopiedPanel<E, kTile, kProductsDepth<E>, kProductsDepth<E> + 16 / int(sizeof(E))>>;

// Loads 16 channels and one step of pixels into registers: 16 rows of A for multiply_matrices; or 16 columns of B,
// words 0 and 2 for the first 8 and words 1 and 3 for the others.
template <typename E, bool last>
__device__ inline void load_channels(const E* panel, int channel, int pixel, uint32_t (&words)[4]) {
  constexpr int stride = ProductsPanel<E, last>::stride;
  const int lane = threadIdx.x % 32;
  if constexpr (!last) {
    load_matrices(panel + (channel + lane % 16) * stride + pixel + lane / 16 * (kStep<E> / 2), words);
  } else if constexpr (sizeof(E) == 2) {
    load_transposed_matrices(panel + (pixel + lane / 16 * 8 + lane % 8) * stride + channel + lane / 8 % 2 * 8, words);
  } else {
    for (int i = 0; i < 4; ++i)
      words[i] = __float_as_uint(panel[(pixel + lane % 4 + i / 2 * 4) * stride + channel + lane / 4 + i % 2 * 8]);
  }
  if constexpr (sizeof(E) == 4)
    for (int i = 0; i < 4; ++i) words[i] = tf32_bits(__uint_as_float(words[i]));
}

// terms[j]: the lane's results in columns 8 j to 8 j + 7 of the warp's. Tensor cores truncate sums, so the error
// of a long sum grows with its length: every step begins with zero, and its sum is added with rounding.
template <typename E, bool last>
__device__ inline void mma_panels(const E* left, const E* right, MmaPlace at, Micro<float>& terms) {
#pragma unroll
  for (int pixel = 0; pixel < kProductsDepth<E>; pixel += kStep<E>) {
    uint32_t rows[4];
    load_channels<E, last>(left, at.row, pixel, rows);
#pragma unroll
    for (int pair = 0; pair < 2; ++pair) {
      uint32_t columns[4];
      load_channels<E, last>(right, at.column + 16 * pair, pixel, columns);
#pragma unroll
      for (int j = 0; j < 2; ++j) {
        float step[4] = {};
        multiply_matrices(E(0.0f), rows, columns[j], columns[j + 2], step);
        for (int i = 0; i < 4; ++i) terms[2 * pair + j][i] += step[i];
      }
    }
  }
}

template <typename E, bool last>
__global__ void __launch_bounds__(kThreads, 2) mma_products_kernel(const ProductsArguments<E> a) {
  using Panel = ProductsPanel<E, last>;
  CNNFAST_SHARED(E, left, [2][Panel::elements]);
  CNNFAST_SHARED(E, right, [2][Panel::elements]);
  const ProductsBlock block(a);
  const int rows = part_of(block.tile.row, a.x.channels, kTile);
  const int columns = part_of(block.tile.column, a.y.channels, kTile);
  const bool diagonal = block.tile.diagonal;
  const auto fetch = [&](const Features<E>& f, int64_t channel, int channels, int64_t pixel, E* panel) {
    const int pixels = part_of(pixel, block.end, kProductsDepth<E>);
    Panel::copy(f.at(block.n, channel, pixel), last ? f.pixel_stride : f.channel_stride, last ? pixels : channels,
                last ? channels : pixels, panel);
  };
  const auto fetch_both = [&](int64_t pixel, int stage) {
    fetch(a.x, block.tile.row, rows, pixel, left[stage]);
    if (!diagonal) fetch(a.y, block.tile.column, columns, pixel, right[stage]);
    commit_copies();
  };
  const MmaPlace at = mma_place();
  const bool needed = at.exists(rows, columns) && !(diagonal && at.row >= at.column + 32);
  LongSums<float> sums;
  if (block.begin < block.end) fetch_both(block.begin, 0);
  int stage = 0;
  for (int64_t pixel = block.begin; pixel < block.end; pixel += kProductsDepth<E>, stage ^= 1) {
    wait_for_copies();
    __syncthreads();  // this stage is complete, and nobody reads the other one any more
    if (pixel + kProductsDepth<E> < block.end) fetch_both(pixel + kProductsDepth<E>, stage ^ 1);
    if (!needed) continue;
    Micro<float> terms = {};
    mma_panels<E, last>(left[stage], diagonal ? left[stage] : right[stage], at, terms);
    sums.add(terms);
  }

  float* out = a.partial + int64_t(blockIdx.x) * kTile * kTile;
  for (int j = 0; j < kMicro; ++j)
    for (int i = 0; i < kMicro; ++i)
      out[(at.row + at.group + i / 2 * 8) * kTile + at.column + 8 * j + 2 * at.word + i % 2] = sums.value(j, i);
}

}  // namespace cnnfast::gram
