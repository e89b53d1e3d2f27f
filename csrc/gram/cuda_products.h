// Weighted products of feature maps on CUDA, sum_k w_k (x_ik - mu_i)(y_jk - nu_j). A block sums one tile of one matrix
// over one chunk of the pixels into a workspace; a second kernel adds the chunks in fixed order and finishes the
// matrix. No atomics: the bits do not depend on the order of the blocks.
#pragma once

#include <cstdint>

#include "core/division.h"
#include "gram/cuda_tile.h"
#include "gram/features.h"

namespace cnnfast::gram {

constexpr int kChunkUnit = 64;  // chunks begin where panels of every kernel do, at multiples of 128 bytes of halves

// The tiles of a matrix; of a symmetric one only those on and above the diagonal.
struct Tiles {
  int64_t rows, columns;  // of the matrix
  bool symmetric;

  CNNFAST_HOST_DEVICE static int64_t count(int64_t channels) { return divide_up(channels, kTile); }
  CNNFAST_HOST_DEVICE int64_t pairs() const {
    return symmetric ? count(rows) * (count(rows) + 1) / 2 : count(rows) * count(columns);
  }
  struct At {
    int64_t row, column;  // first channels
    bool diagonal;
  };
  CNNFAST_HOST_DEVICE At at(int64_t pair) const {
    int64_t row = 0, column = pair;
    if (!symmetric) {
      row = pair / count(columns);
      column = pair % count(columns);
    } else {
      for (int64_t length = count(columns); column >= length; --length, ++row) column -= length;
      column += row;
    }
    return {row * kTile, column * kTile, symmetric && row == column};
  }
};

template <typename E>
struct ProductsArguments {
  using T = accumulate_t<E>;
  Features<E> x, y;  // the same maps if the tiles are symmetric
  PixelWeights<T> weights;
  const T *x_means, *y_means;  // (N, R, C), or null
  Tiles tiles;
  int64_t splits, chunk;  // pixels per chunk, a multiple of kChunkUnit
  int64_t first_matrix;
  T* partial;  // (matrices, pairs, splits, kTile, kTile)
};

// What a block of a products kernel sums: one tile of one matrix over one chunk of the pixels.
struct ProductsBlock {
  int64_t matrix, n, r;
  Tiles::At tile;
  int64_t begin, end;  // pixels

  template <typename E>
  __device__ explicit ProductsBlock(const ProductsArguments<E>& a) {
    const int64_t block = blockIdx.x, pairs = a.tiles.pairs();
    matrix = a.first_matrix + block / (a.splits * pairs);
    n = matrix / a.weights.regions, r = matrix % a.weights.regions;
    tile = a.tiles.at(block / a.splits % pairs);
    begin = block % a.splits * a.chunk;
    end = begin + a.chunk < a.x.pixels ? begin + a.chunk : a.x.pixels;
  }
};

template <typename T>
__device__ inline T centred(T value, const T* means, int channel) {
  return means ? value - means[channel] : value;
}

template <typename E>
__global__ void __launch_bounds__(kThreads, sizeof(accumulate_t<E>) > 4 ? 1 : 2)
    products_kernel(const ProductsArguments<E> a) {
  using T = accumulate_t<E>;
  CNNFAST_SHARED(T, left, [kDepth][kPanelStride]);
  CNNFAST_SHARED(T, right, [kDepth][kPanelStride]);
  const ProductsBlock block(a);
  const Tiles::At tile = block.tile;
  const int64_t n = block.n, begin = block.begin, end = block.end;
  const T* weights = a.weights.row(n, block.r);
  const MicroPlace at = micro_place();

  const T* x_means = a.x_means ? a.x_means + block.matrix * a.x.channels + tile.row : nullptr;
  const T* y_means = a.y_means ? a.y_means + block.matrix * a.y.channels + tile.column : nullptr;
  const int rows = part_of(tile.row, a.x.channels, kTile), columns = part_of(tile.column, a.y.channels, kTile);
  PanelMover<E> x(a.x.channel_stride, a.x.pixel_stride), y(a.y.channel_stride, a.y.pixel_stride);
  const auto fetch = [&](int64_t pixel) {
    const int pixels = part_of(pixel, end, kDepth);
    x.fetch(a.x.at(n, tile.row, pixel), rows, pixels);
    if (!tile.diagonal) y.fetch(a.y.at(n, tile.column, pixel), columns, pixels);
  };
  LongSums<T> sums;
  fetch(begin);
  for (int64_t pixel = begin; pixel < end; pixel += kDepth) {
    __syncthreads();  // nobody reads the last panels any more
    const T* w = weights ? weights + pixel : nullptr;
    x.store([=](T value, int i, int k) { return centred(value, x_means, i) * (w ? w[k] : T(1)); }, left);
    if (!tile.diagonal) {
      y.store([=](T value, int j, int) { return centred(value, y_means, j); }, right);
    } else if (weights) {
      x.store([=](T value, int i, int) { return centred(value, x_means, i); }, right);
    }
    __syncthreads();
    if (pixel + kDepth < end) fetch(pixel + kDepth);
    Micro<T> terms = {};
    multiply_panels<T>(left, tile.diagonal && !weights ? left : right, at, terms);
    sums.add(terms);
  }

  T* out = a.partial + int64_t(blockIdx.x) * kTile * kTile + at.row * kTile + at.column;
  for (int i = 0; i < kMicro; ++i)
    for (int j = 0; j < kMicro; ++j) out[i * kTile + j] = sums.value(i, j);
}

constexpr int kFinishColumns = 32, kFinishLanes = 8;  // a block finishes 32 neighbours of a tile, up to 8 threads each

// Adds the chunks of every entry in double and calls finish(matrix, i, j, sum), which returns the entry's part of the
// block's total; totals (one a block) may be null. A tile is finished by `slices` blocks.
template <typename T, typename Finish>
__global__ void __launch_bounds__(kFinishColumns* kFinishLanes)
    finish_kernel(const Tiles tiles, const int64_t splits, const int64_t slices, const int64_t first_matrix,
                  const T* partial, const Finish finish, double* totals) {
  CNNFAST_SHARED(double, lanes, [kFinishLanes][kFinishColumns]);
  const int64_t block = blockIdx.x, slot = block / slices, pair = slot % tiles.pairs();
  const Tiles::At tile = tiles.at(pair);
  const int element = int(block % slices) * kFinishColumns + threadIdx.x;
  const int64_t i = tile.row + element / kTile, j = tile.column + element % kTile;
  const bool wanted = i < tiles.rows && j < tiles.columns && (!tile.diagonal || i <= j);
  double sum = 0;
  if (wanted)
    for (int64_t split = threadIdx.y; split < splits; split += blockDim.y)
      sum += double(partial[(slot * splits + split) * kTile * kTile + element]);
  lanes[threadIdx.y][threadIdx.x] = sum;
  __syncthreads();
  if (threadIdx.y > 0) return;
  for (unsigned lane = 1; lane < blockDim.y; ++lane) sum += lanes[lane][threadIdx.x];
  double total = wanted ? finish(first_matrix + slot / tiles.pairs(), i, j, sum) : 0;
  if (!totals) return;
  for (int distance = kFinishColumns / 2; distance > 0; distance /= 2)
    total += __shfl_down_sync(0xffffffffu, total, distance);
  if (threadIdx.x == 0) totals[block] = total;
}

}  // namespace cnnfast::gram
