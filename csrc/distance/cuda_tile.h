// Truncated distance transforms of small radius on CUDA: a block reads a tile with its halo once and needs no scratch.
//
// Whatever the type of the mask, a row or column of the tile becomes 96 bits: bit 32 + i tells whether pixels i - 1 and
// i differ. The nearest differing pixel along the line is then a count of zeros in 32 bits before and behind. With h
// and g the distances to it in a pixel's row and column, d^2 = min(g^2, h^2, dx^2 + g(x +- dx)^2 for dx < h).
#pragma once

#include <cstdint>

#include "core/runtime.h"
#include "distance/cuda_finish.h"
#include "distance/cuda_planes.h"

namespace cnnfast::distance {

constexpr int kSide = 32;                 // of a tile
constexpr int kHalo = 32;                 // a side, at most
constexpr int kSpan = kSide + 2 * kHalo;  // of a tile with its halo
constexpr int kLineWords = kSpan / 32, kLineBytes = kSpan / 8;
constexpr int kFar = 64;  // stands for what is out of sight: its square is above every limit
constexpr int kTileThreads = 256, kTileWarps = kTileThreads / kSide;

template <typename E, typename Squares>
struct TileArguments {
  MaskPlanes<E> mask;
  Squares squares;
  int sight;  // steps that matter, at most 31
  int row_tiles, column_tiles;
  DistanceFinish finish;
};

// Bits of positions first..first + 7 of the column (or row) `line`.
template <bool is_column, typename E>
__device__ inline unsigned char changes(const MaskPlanes<E>& mask, int64_t plane, int line, int first) {
  const auto y = [&](int i) { return is_column ? i : line; };
  const auto x = [&](int i) { return is_column ? line : i; };
  E before = mask.value(plane, y(first - 1), x(first - 1));
  bool before_inside = mask.inside(y(first - 1), x(first - 1));
  unsigned bits = 0;
#pragma unroll
  for (int i = 0; i < 8; ++i) {
    const E value = mask.value(plane, y(first + i), x(first + i));
    const bool inside = mask.inside(y(first + i), x(first + i));
    bits |= unsigned(mask.differ(before, before_inside, value, inside)) << i;
    before = value, before_inside = inside;
  }
  return static_cast<unsigned char>(bits);
}

// Steps from position i of the tile to the nearest pixel that differs.
__device__ inline int nearest_change(const uint32_t* words, int i) {
  const uint32_t before = uint32_t((uint64_t(words[1]) << 32 | words[0]) >> (i + 1));  // bits i + 1 .. i + 32
  const uint32_t behind = uint32_t((uint64_t(words[2]) << 32 | words[1]) >> (i + 1));  // bits i + 33 .. i + 64
  const int up = before ? __clz(int(before)) + 1 : kFar, down = behind ? __ffs(int(behind)) : kFar;
  return up < down ? up : down;
}

template <typename E, typename Squares>
__global__ void __launch_bounds__(kTileThreads) tile_transform_kernel(const TileArguments<E, Squares> a) {
  using Square = typename Squares::Square;
  CNNFAST_SHARED(uint32_t, columns, [kSpan][kLineWords]);
  CNNFAST_SHARED(uint32_t, rows, [kSide][kLineWords]);
  CNNFAST_SHARED(unsigned char, vertical, [kSide][kSpan]);  // steps g to the nearest change in the column
  const int64_t block = blockIdx.x, plane = block / (int64_t(a.row_tiles) * a.column_tiles);
  const int top = int(block / a.column_tiles % a.row_tiles) * kSide, left = int(block % a.column_tiles) * kSide;
  const int first = kHalo - a.sight, last = kHalo + kSide + a.sight;  // columns with the halo that matters

  const int first_byte = (first + 1) / 8, last_byte = (last - 1) / 8;
  for (int i = threadIdx.x; i < (last - first) * kLineBytes; i += kTileThreads) {
    const int column = first + i % (last - first), byte = i / (last - first);
    const bool wanted = byte >= first_byte && byte <= last_byte;
    reinterpret_cast<unsigned char*>(columns[column])[byte] =
        wanted ? changes<true>(a.mask, plane, left - kHalo + column, top - kHalo + 8 * byte) : 0;
  }
  for (int i = threadIdx.x; i < kSide * kLineBytes; i += kTileThreads) {
    const int row = i / kLineBytes, byte = i % kLineBytes;
    const bool wanted = byte >= first_byte && byte <= last_byte;
    reinterpret_cast<unsigned char*>(rows[row])[byte] =
        wanted ? changes<false>(a.mask, plane, top + row, left - kHalo + 8 * byte) : 0;
  }
  __syncthreads();
  const int lane = threadIdx.x % kSide, warp = threadIdx.x / kSide;
  for (int row = warp; row < kSide; row += kTileWarps)
    for (int column = first + lane; column < last; column += kSide)
      vertical[row][column] = static_cast<unsigned char>(nearest_change(columns[column], row));
  __syncthreads();

  const int x = left + lane;
  for (int row = warp; row < kSide; row += kTileWarps) {
    const int y = top + row;
    if (!a.mask.inside(y, x)) continue;
    const unsigned char* g = &vertical[row][kHalo + lane];
    Square best = a.squares.limit;
    const auto lower = [&](Square candidate) { best = candidate < best ? candidate : best; };
    lower(a.squares.vertical(g[0]));
    lower(a.squares.horizontal(nearest_change(rows[row], lane)));
    for (int dx = 1; a.squares.horizontal(dx) < best; ++dx) {
      const int nearer = g[dx] < g[-dx] ? g[dx] : g[-dx];
      lower(Squares::sum(a.squares.vertical(nearer), a.squares.horizontal(dx)));
    }
    a.finish(plane, int64_t(y) * a.mask.width + x, a.mask.value(plane, y, x) != 0, best);
  }
}

}  // namespace cnnfast::distance
