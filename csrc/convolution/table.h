// The inner loops of 3x3 convolutions by tiles: function pointers, filled once per instruction set.
//
// A tile of 6x6 px of the input gives 4x4 px of the output. Both have 36 values in the transformed domain, where the
// convolution is a product for each of them: `spread` floats lie from the block of one value to that of the next.
#pragma once

#include <cstdint>

#include "core/table.h"

namespace cnnfast::convolution {

constexpr int kTileOutput = 4;
constexpr int kTileInput = 6;
constexpr int kTileValues = kTileInput * kTileInput;
// Output channels that are worked on together. Both numbers of channels are multiples of it.
constexpr int64_t kChannelPanel = 32;

// Strides of weights in floats, from one input channel, output channel and tap to the next; the taps may run backwards.
struct WeightStrides {
  int64_t input, output, tap;
};

struct Kernels {
  // out[v][c] = the 36 values of channel c of a tile, whose px lie at pixels[36]
  void (*transform_input)(const float* const* pixels, int64_t channels, float* out, int64_t spread);

  // out[v][c][o] = the 36 values of the weights from each input channel to kChannelPanel output channels
  void (*transform_weights)(const float* weights, WeightStrides strides, int64_t channels, float* out, int64_t spread);

  // out[t][o] = sum over c of tiles[t * stride + c] weights[c][o], for one value
  void (*multiply)(const float* tiles, int64_t stride, const float* weights, int64_t channels, int64_t count,
                   float* out);

  // pixels[16][o] = bias[o] + the result of a tile
  void (*transform_output)(const float* values, int64_t spread, const float* bias, float* const* pixels);
};
CNNFAST_DECLARE_TABLES()

}  // namespace cnnfast::convolution
