// The Gram family's inner loops: one set of function pointers per element type, filled once per instruction set.
#pragma once

#include <cstdint>

#include "core/table.h"
#include "core/types.h"

namespace cnnfast::gram {

// A panel is a packed copy of features in T: `channels` rows of pixels, `stride` elements apart, padded with zeros.
// Packing is bound by memory and multiplying by arithmetic, so a panel is packed in steps, between the products of the
// panel before it.
template <typename T>
struct Packing {
  void (*advance)(Packing& packing, int64_t until);  // takes the steps from `done` to `until`
  const void* source;                                // elements of the type that `advance` was built for
  int64_t channel_stride, pixel_stride;
  int64_t channels, padded_channels, pixels;  // rows between channels and padded_channels become zero
  T* panel;
  int64_t stride;
  int64_t steps, done;
  const char* memory;  // of step 0, for prefetches
  int64_t step_bytes;  // from the memory of one step to that of the next; 0 if a step's memory is not contiguous
  bool prefetches;     // false if the caller prefetches the memory of every step before it is taken
};

template <typename E>
struct ElementKernels {
  using T = accumulate_t<E>;

  int64_t lanes;      // pixels per vector: panel rows are padded to a multiple of it
  int64_t tile;       // row_products works on tile x tile products
  int64_t tile_slot;  // elements that one tile occupies in the output of row_products

  // panel[c][k] = source[c * channel_stride + k * pixel_stride]
  Packing<T> (*pack)(const E* source, int64_t channel_stride, int64_t pixel_stride, int64_t channels,
                     int64_t padded_channels, int64_t pixels, T* panel, int64_t stride);

  // output[c][k] = (panel[c][k] - shift[c]) * weight[k], weight zero beyond the pixels; output may be panel
  void (*shift_and_scale)(const T* panel, const T* shift, const T* weight, int64_t channels, int64_t padded_pixels,
                          T* output, int64_t stride);

  // tiles[t] = left_i . right_j for the tile x tile rows of each tile t, tiles in row-major order; with `upper`, only
  // tiles on and above the diagonal, and of the diagonal ones only the upper triangle. Meanwhile packs `ahead`
  void (*row_products)(const T* left, const T* right, int64_t stride, int64_t left_rows, int64_t right_rows,
                       int64_t padded_pixels, bool upper, T* tiles, Packing<T>* ahead);

  // total[s] = (first ? 0 : total[s]) + tiles[s]
  void (*accumulate)(const T* tiles, int64_t slots, bool first, double* total);

  // output[i * output_stride + k] = sum_c left[c * left_stride + i] * right[c * right_stride + k]. Meanwhile packs
  // `ahead`. `large`: the output as a whole does not fit into the caches
  void (*multiply)(const T* left, int64_t left_stride, const T* right, int64_t right_stride, int64_t depth,
                   int64_t rows, int64_t columns, E* output, int64_t output_stride, bool large, Packing<T>* ahead);
};

struct Kernels : PerElement<ElementKernels> {};
CNNFAST_DECLARE_TABLES()

}  // namespace cnnfast::gram
