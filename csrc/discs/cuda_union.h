// The union of labelled discs on CUDA, exact in integers: q is in it where max over p of rho(p)^2 - |q - p|^2 is not
// negative. First the largest rho^2 - dy^2 of every column, then the maximum over the columns around q.
#pragma once

#include <cstdint>

#include "core/runtime.h"
#include "discs/cuda_tiling.h"

namespace cnnfast::discs {

struct DiscUnionArguments {
  DiscRadii radii;
  DiscTiling tiling;
  const uint8_t* labels;  // (N, height, width)
  int height, width, pad;
  bool* out;  // (N, height + 2 pad, width + 2 pad)
};

static __global__ void __launch_bounds__(kDiscThreads) disc_union_kernel(const DiscUnionArguments a) {
  CNNFAST_SHARED(int, squares, [kDiscThreads]);  // rho^2 of every label, -1 of those without a disc
  CNNFAST_SHARED(int, reaches, [kDiscCells]);    // the largest rho^2 - dy^2 of a cell's column
  const DiscCells cells(a.tiling);
  const int label = threadIdx.x, reach = a.tiling.reach, columns = a.tiling.columns();
  const int radius = label >= 1 && label <= a.radii.count ? a.radii.radius[label - 1] : 0;
  squares[label] = label >= 1 && label <= a.radii.count ? radius * radius : -1;
  const uint8_t* labels = a.labels + cells.plane * a.height * a.width;
  bool covered[kDiscItems] = {};
  const int centre = cells.first_column - a.pad;
  for (int first = centre - reach; first < centre + a.tiling.tile_columns + reach; first += columns) {
    if (first + columns <= 0 || first >= a.width) continue;
    __syncthreads();  // nobody reads the last part any more
#pragma unroll
    for (int i = 0; i < kDiscItems; ++i) {
      const int column = first + cells.cell[i], row = cells.row[i] - a.pad;
      int largest = -1;
      if (column >= 0 && column < a.width) {
        const int begin = row - reach > 0 ? row - reach : 0, end = row + reach < a.height ? row + reach + 1 : a.height;
        for (int y = begin; y < end; ++y) {
          const int square = squares[labels[int64_t(y) * a.width + column]] - (y - row) * (y - row);
          largest = square > largest ? square : largest;
        }
      }
      reaches[threadIdx.x + i * kDiscThreads] = largest;
    }
    __syncthreads();
#pragma unroll
    for (int i = 0; i < kDiscItems; ++i) {
      const int* row = &reaches[threadIdx.x + i * kDiscThreads - cells.cell[i]];
      const int own = centre + cells.cell[i] - first;
      const int begin = own - reach > 0 ? own - reach : 0, end = own + reach < columns ? own + reach + 1 : columns;
      for (int column = begin; column < end && !covered[i]; ++column)
        covered[i] = row[column] >= (column - own) * (column - own);
    }
  }
  bool* out = a.out + cells.plane * a.tiling.height * a.tiling.width;
#pragma unroll
  for (int i = 0; i < kDiscItems; ++i)
    if (cells.has_result(a.tiling, i)) out[int64_t(cells.row[i]) * a.tiling.width + cells.column(i)] = covered[i];
}

}  // namespace cnnfast::discs
