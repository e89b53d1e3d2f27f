// The inner loops of 2x2 pooling behind a ReLU: function pointers, filled once per instruction set.
//
// Every value of the result has four bits: whether the px at (0, 0), (0, 1), (1, 0), (1, 1) of its window receive its
// gradient. The four bits take a byte. Of a block of kChannelBlock channels, byte 4 l + k belongs to channel 16 k + l,
// so that vectors of 4, 8 or 16 lanes write the same bytes without shuffling lanes.
#pragma once

#include <cstdint>

#include "core/table.h"
#include "core/types.h"

namespace cnnfast::pooling {

constexpr int64_t kChannelBlock = 64;
constexpr int64_t kBlockLanes = 16;

template <typename E>
struct RowKernels {
  // out[x][c] = the largest, or the mean, of the ReLUs of px 2 x and 2 x + 1 of two rows; and its bits
  void (*pool_row)(const E* top, const E* bottom, int64_t width, int64_t channels, bool average, E* out, uint8_t* bits);

  // The gradient of two rows of 2 width px, from that of a row of the result.
  void (*unpool_row)(const E* gradient, const uint8_t* bits, int64_t width, int64_t channels, bool average, E* top,
                     E* bottom);
};

struct Kernels {
  RowKernels<float> float32;
  RowKernels<bfloat16_bits> bfloat16;
};
CNNFAST_DECLARE_TABLES()

}  // namespace cnnfast::pooling
