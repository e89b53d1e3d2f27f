// Joins (sums, or takes the largest of) what lies on discs of several radii around every pixel, by row classes: with
// V_d(x) the join over all (n, dy) whose half width isqrt(rho_n^2 - dy^2) is at least d of the source n at (y + dy, x),
// the result at x joins V_0(x) and V_d(x - d), V_d(x + d) for d = 1, 2, ... A thread gathers V_d of its columns in
// registers, from the widest class on, and threads exchange them through shared memory.
#pragma once

#include "core/runtime.h"
#include "discs/cuda_tiling.h"
#include "discs/discs_math.h"

namespace cnnfast::discs {

// Joins the rows of a disc whose half width is d. `first` is the first column of this part of the source.
template <typename Source>
__device__ inline void gather_class(const Source& source, const DiscCells& cells, int first,
                                    const typename Source::Disc& disc, int d,
                                    typename Source::Value (&gathered)[kDiscItems]) {
  const int last_step = half_width(disc.radius, d);
  for (int step = half_width(disc.radius, d + 1) + 1; step <= last_step; ++step) {
#pragma unroll
    for (int i = 0; i < kDiscItems; ++i) {
      const int column = first + cells.cell[i], above = cells.row[i] + source.shift - step, below = above + 2 * step;
      if (column < 0 || column >= source.width) continue;
      if (above >= 0 && above < source.height) gathered[i] = Source::join(gathered[i], disc.at(above, column));
      if (step > 0 && below >= 0 && below < source.height)
        gathered[i] = Source::join(gathered[i], disc.at(below, column));
    }
  }
}

// Source has planes of height * width, of which a result at (y, x) looks around (y + shift, x + shift), and
//   Value, none(), join(a, b)      what is joined;
//   first, last, disc(n)           its discs n = first..last - 1: `radius`, at(row, column);
//   reach                          the largest radius.
template <typename Source>
__device__ inline void join_discs(const Source& source, const DiscTiling& tiling, const DiscCells& cells,
                                  typename Source::Value (&results)[kDiscItems]) {
  using Value = typename Source::Value;
  CNNFAST_SHARED(Value, classes, [2][kDiscCells]);
#pragma unroll
  for (int i = 0; i < kDiscItems; ++i) results[i] = Source::none();
  const int columns = tiling.columns(), centre = cells.first_column + source.shift;
  int turn = 0;
  for (int first = centre - tiling.reach; first < centre + tiling.tile_columns + tiling.reach; first += columns) {
    if (first + columns <= 0 || first >= source.width) continue;
    Value gathered[kDiscItems];
#pragma unroll
    for (int i = 0; i < kDiscItems; ++i) gathered[i] = Source::none();
    for (int d = source.reach; d >= 0; --d, turn ^= 1) {
      for (int n = source.first; n < source.last; ++n) gather_class(source, cells, first, source.disc(n), d, gathered);
#pragma unroll
      for (int i = 0; i < kDiscItems; ++i) classes[turn][threadIdx.x + i * kDiscThreads] = gathered[i];
      __syncthreads();  // the next turn writes elsewhere, and the one after it comes behind the next barrier
#pragma unroll
      for (int i = 0; i < kDiscItems; ++i) {
        const Value* row = &classes[turn][threadIdx.x + i * kDiscThreads - cells.cell[i]];
        const int left = centre + cells.cell[i] - first - d, right = left + 2 * d;
        if (left >= 0 && left < columns) results[i] = Source::join(results[i], row[left]);
        if (d > 0 && right >= 0 && right < columns) results[i] = Source::join(results[i], row[right]);
      }
    }
  }
}

}  // namespace cnnfast::discs
