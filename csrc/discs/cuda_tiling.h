// How the results of the disc operators are divided among blocks on CUDA, and the discs' radii.
#pragma once

#include <cstdint>

#include "core/division.h"
#include "core/runtime.h"

namespace cnnfast::discs {

constexpr int kDiscThreads = 256, kDiscItems = 4;
constexpr int kDiscCells = kDiscThreads * kDiscItems;
constexpr int kMostDiscs = 512;

// The bins' radii, small enough for a kernel's arguments.
struct DiscRadii {
  int count;
  uint16_t radius[kMostDiscs];
};

// A block has 1024 cells, `columns` (a power of two) side by side and the others below, four a thread. A cell is first
// a column of the source, then a column of the results; the source reaches `reach` further to both sides than the
// results of the block. Where that is as wide as the block, the block visits the source in several parts.
struct DiscTiling {
  int height, width;  // of the results
  int reach;
  int log_columns;
  int tile_columns;  // results side by side, at most `columns`
  int row_tiles, column_tiles;

  DiscTiling(int height, int width, int reach) : height(height), width(width), reach(reach) {
    int64_t best = INT64_MAX;
    for (int log = 5; log <= 10; ++log) {
      const int64_t columns = int64_t(1) << log, rows = kDiscCells >> log, alone = columns - 2 * int64_t(reach);
      const int64_t tile = alone >= columns / 2 ? alone : columns;
      const int64_t parts = divide_up(tile + 2 * int64_t(reach), columns);
      const int64_t cells = divide_up(width, tile) * parts * columns * round_up(height, rows);
      if (cells >= best) continue;
      best = cells;
      log_columns = log;
      tile_columns = int(tile);
      row_tiles = int(divide_up(height, rows));
      column_tiles = int(divide_up(width, tile));
    }
  }
  CNNFAST_HOST_DEVICE int columns() const { return 1 << log_columns; }
  CNNFAST_HOST_DEVICE int64_t tiles() const { return int64_t(row_tiles) * column_tiles; }
};

// The plane and the first column of a thread's block, and the rows and columns of its cells.
struct DiscCells {
  int64_t plane, tile;
  int first_column;
  int row[kDiscItems], cell[kDiscItems];  // of the results; column of a cell in its block

  __device__ explicit DiscCells(const DiscTiling& t) : plane(blockIdx.x / t.tiles()), tile(blockIdx.x % t.tiles()) {
    const int top = int(tile / t.column_tiles) * (kDiscCells >> t.log_columns);
    first_column = int(tile % t.column_tiles) * t.tile_columns;
    for (int i = 0; i < kDiscItems; ++i) {
      const int index = threadIdx.x + i * kDiscThreads;
      row[i] = top + (index >> t.log_columns);
      cell[i] = index & (t.columns() - 1);
    }
  }
  __device__ int column(int i) const { return first_column + cell[i]; }
  __device__ bool has_result(const DiscTiling& t, int i) const {
    return row[i] < t.height && cell[i] < t.tile_columns && column(i) < t.width;
  }
};

}  // namespace cnnfast::discs
