// Channel mixing on CUDA: output_n = sum_r A_nr ((x_n - mu_nr) w_nr), the work behind every gradient of the Gram
// family. A block computes one tile of the output from beginning to end: there is nothing to reduce.
#pragma once

#include <cstdint>

#include "core/division.h"
#include "gram/cuda_tile.h"
#include "gram/features.h"
#include "gram/gram_math.h"

namespace cnnfast::gram {

template <typename E>
struct ApplyArguments {
  using T = accumulate_t<E>;
  const T* mixing;  // A, transposed: (N, R, C of x, channels)
  Features<E> x;
  PixelWeights<T> weights;
  const T* means;    // (N, R, C), or null
  E* output;         // (N, M, channels) if last, else (N, channels, M)
  int64_t channels;  // of the output
  bool last;
};

// Writes a row's four neighbours, those that exist.
template <typename E, typename T>
__device__ inline void write_four(const T (&values)[kMicro], int64_t existing, bool aligned, E* out) {
  if (aligned && existing >= kMicro) {
    Four<E> four;
    for (int j = 0; j < kMicro; ++j) four.value[j] = E(values[j]);
    *reinterpret_cast<Four<E>*>(out) = four;
    return;
  }
  for (int j = 0; j < kMicro; ++j)
    if (j < existing) out[j] = E(values[j]);
}

// The tile that a block of an apply kernel computes.
struct ApplyBlock {
  int64_t n, channel, pixel;  // the first ones
  int channels, pixels;       // as many as there are

  template <typename E>
  __device__ explicit ApplyBlock(const ApplyArguments<E>& a) {
    const int64_t channel_tiles = divide_up(a.channels, kTile), pixel_tiles = divide_up(a.x.pixels, kTile);
    const int64_t block = blockIdx.x;
    n = block / (channel_tiles * pixel_tiles);
    channel = block % channel_tiles * kTile, pixel = block / channel_tiles % pixel_tiles * kTile;
    channels = part_of(channel, a.channels, kTile), pixels = part_of(pixel, a.x.pixels, kTile);
  }
  // Four neighbours of the tile. Rows are pixels of a channels_last output, channels of another.
  template <typename E, typename T>
  __device__ void write(const ApplyArguments<E>& a, int row, int column, const T (&values)[kMicro]) const {
    const int64_t rows = a.last ? a.x.pixels : a.channels, columns = a.last ? a.channels : a.x.pixels;
    const int64_t i = (a.last ? pixel : channel) + row, j = (a.last ? channel : pixel) + column;
    if (i < rows) write_four(values, columns - j, columns % kMicro == 0, a.output + (n * rows + i) * columns + j);
  }
};

template <typename E>
__global__ void __launch_bounds__(kThreads, 2) apply_kernel(const ApplyArguments<E> a) {
  using T = accumulate_t<E>;
  CNNFAST_SHARED(T, features, [kDepth][kPanelStride]);
  CNNFAST_SHARED(T, factors, [kDepth][kPanelStride]);
  const ApplyBlock block(a);
  const int64_t n = block.n, channel = block.channel, pixel = block.pixel;
  const MicroPlace at = micro_place();

  PanelMover<E> x(a.x.pixel_stride, a.x.channel_stride);
  PanelMover<T> factor(1, a.channels);
  const int64_t blocks = divide_up(a.x.channels, kDepth), steps = a.weights.regions * blocks;
  const auto fetch = [&](int64_t matrix, int64_t j) {
    const int depth = part_of(j, a.x.channels, kDepth);
    x.fetch(a.x.at(n, j, pixel), block.pixels, depth);
    factor.fetch(a.mixing + (matrix * a.x.channels + j) * a.channels + channel, block.channels, depth);
  };
  Micro<T> sums = {};
  if (steps > 0) fetch(n * a.weights.regions, 0);
  for (int64_t step = 0; step < steps; ++step) {
    const int64_t r = step / blocks, j = step % blocks * kDepth, matrix = n * a.weights.regions + r;
    const T* weights = a.weights.data ? a.weights.row(n, r) + pixel : nullptr;
    const T* means = a.means ? a.means + matrix * a.x.channels + j : nullptr;
    __syncthreads();  // nobody reads the last panels any more
    x.store([=](T value, int k, int i) { return (means ? value - means[i] : value) * (weights ? weights[k] : T(1)); },
            features);
    factor.store([](T value, int, int) { return value; }, factors);
    __syncthreads();
    if (step + 1 < steps) fetch(n * a.weights.regions + (step + 1) / blocks, (step + 1) % blocks * kDepth);
    multiply_panels<T>(a.last ? features : factors, a.last ? factors : features, at, sums);
  }

  for (int i = 0; i < kMicro; ++i) block.write(a, at.row + i, at.column, sums[i]);
}

// The matrices A, transposed and divided by Z: mixing[matrix][j][i] = value(matrix, i, j) / Z.
template <typename T, typename Value, typename Inverse>
__global__ void __launch_bounds__(kThreads) mixing_kernel(const Value value, const Inverse inverse, const int64_t depth,
                                                          const int64_t channels, const int64_t total, T* mixing) {
  const int64_t index = int64_t(blockIdx.x) * kThreads + threadIdx.x;
  if (index >= total) return;
  const int64_t i = index % channels, j = index / channels % depth, matrix = index / (channels * depth);
  mixing[index] = T(divided(value(matrix, i, j), inverse(matrix)));
}

}  // namespace cnnfast::gram
