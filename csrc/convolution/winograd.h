// A 3x3 convolution with stride 1 by tiles (Winograd's minimal filtering), at most a quarter of its multiplications.
//
// If there are few weights, they are transformed once, and every thread takes a few tiles at a time through all steps
// while they stay in its core's cache. Else the tiles of the input are transformed in large blocks, and every thread
// multiplies a block with some panels of output channels, whose weights it transforms.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "convolution/table.h"
#include "core/division.h"
#include "core/memory.h"
#include "core/parallel.h"

namespace cnnfast::convolution {

// The sizes of a convolution. Arrays are images (N, H, W, channels), contiguous.
struct ConvolutionShape {
  int64_t batch, height, width, channels;
  int64_t output_height, output_width, output_channels;
  int64_t padding;
};

class WinogradConvolution {
 public:
  // weights (from the first tap, in the order in which they are multiplied) and bias of output_channels
  WinogradConvolution(const ConvolutionShape& shape, const float* input, const float* weights, WeightStrides strides,
                      const float* bias, float* output)
      : shape_(shape),
        input_(input),
        weights_(weights),
        strides_(strides),
        bias_(bias),
        output_(output),
        rows_(divide_up(shape.output_height, kTileOutput)),
        columns_(divide_up(shape.output_width, kTileOutput)),
        tiles_(shape.batch * rows_ * columns_),
        stride_(shape.channels + kGap),
        nowhere_(shape.channels, 0.0f) {}

  void run() const {
    const int64_t all_weights = shape_.output_channels / kChannelPanel * kTileValues * weight_spread();
    if (all_weights <= kFewWeights) {
      run_by_tiles(all_weights);
    } else {
      run_by_panels();
    }
  }

 private:
  static constexpr int64_t kFewWeights = int64_t(1) << 20;
  // Tiles whose values stay in a core's second-level cache: of the input with few weights, else of the output.
  static constexpr int64_t kFewTiles = 24, kChunk = 48;
  // 4 MiB of values of the input at once, but enough tiles that transforming the weights costs little in comparison.
  static constexpr int64_t kBlockFloats = int64_t(1) << 20, kSmallestBlock = 4 * kChunk;
  // A cache line, so that neighbouring tiles and values do not fall into the same cache sets.
  static constexpr int64_t kGap = 16;

  static const Kernels& simd() { return kernels(); }
  int64_t spread(int64_t tiles) const { return tiles * stride_ + kGap; }

  int64_t weight_spread() const { return shape_.channels * kChannelPanel + kGap; }
  static constexpr int64_t result_spread() { return kChunk * kChannelPanel + kGap; }
  int64_t work(int64_t tiles) const { return tiles * kTileValues * shape_.channels * shape_.output_channels; }

  void run_by_tiles(int64_t all_weights) const {
    const int64_t panels = shape_.output_channels / kChannelPanel, panel_weights = kTileValues * weight_spread();
    const Scratch<float> weights(all_weights);
    for_each_item(panels, worker_count(panels, all_weights), [&](int64_t, int64_t panel, int64_t) {
      transform_weights(panel * kChannelPanel, weights.get() + panel * panel_weights);
    });
    const int64_t items = divide_up(tiles_, kFewTiles), workers = worker_count(items, work(tiles_));
    const int64_t size = kTileValues * (spread(kFewTiles) + result_spread());
    const Scratch<float> memory(workers * size);
    for_each_item(items, workers, [&](int64_t worker, int64_t item, int64_t) {
      float* values = memory.get() + worker * size;
      const int64_t first = item * kFewTiles, count = std::min(kFewTiles, tiles_ - first);
      for (int64_t t = 0; t < count; ++t) transform_tile(first + t, values + t * stride_, spread(kFewTiles));
      for (int64_t panel = 0; panel < panels; ++panel)
        multiply(first, count, values, spread(kFewTiles), panel * kChannelPanel, weights.get() + panel * panel_weights,
                 values + kTileValues * spread(kFewTiles));
    });
  }

  void run_by_panels() const {
    const int64_t fitting = kBlockFloats / (kTileValues * stride_);
    const int64_t blocks = divide_up(tiles_, std::max(fitting, kSmallestBlock)), block = divide_up(tiles_, blocks);
    const Scratch<float> values(kTileValues * spread(block));
    for (int64_t first = 0; first < tiles_; first += block) {
      const int64_t count = std::min(block, tiles_ - first);
      transform_block(first, count, values.get());
      multiply_block(first, count, values.get());
    }
  }

  void transform_block(int64_t first, int64_t count, float* values) const {
    constexpr int64_t group = 8;
    const int64_t groups = divide_up(count, group), workers = worker_count(groups, work(count));
    for_each_item(groups, workers, [&](int64_t, int64_t item, int64_t) {
      for (int64_t t = item * group; t < std::min(count, (item + 1) * group); ++t)
        transform_tile(first + t, values + t * stride_, spread(count));
    });
  }

  void multiply_block(int64_t first, int64_t count, const float* values) const {
    const int64_t panels = shape_.output_channels / kChannelPanel, chunks = divide_up(count, kChunk);
    // Every run of chunks transforms the weights of its panel: no more runs than keep all threads busy.
    const int64_t runs = std::min(chunks, divide_up(2 * worker_count(panels * chunks, work(count)), panels));
    const int64_t items = panels * runs, workers = worker_count(items, work(count));
    const int64_t size = kTileValues * (weight_spread() + result_spread());
    const Scratch<float> memory(workers * size);
    for_each_item(items, workers, [&](int64_t worker, int64_t item, int64_t) {
      float* weights = memory.get() + worker * size;
      const int64_t panel = item / runs * kChannelPanel, run = item % runs, end = count * (run + 1) / runs;
      transform_weights(panel, weights);
      for (int64_t t = count * run / runs; t < end; t += kChunk)
        multiply(first + t, std::min(kChunk, end - t), values + t * stride_, spread(count), panel, weights,
                 weights + kTileValues * weight_spread());
    });
  }

  void transform_weights(int64_t panel, float* values) const {
    simd().transform_weights(weights_ + panel * strides_.output, strides_, shape_.channels, values, weight_spread());
  }

  // Some tiles' results in the panel of output channels that starts at `panel`.
  void multiply(int64_t first, int64_t count, const float* values, int64_t spread, int64_t panel, const float* weights,
                float* results) const {
    for (int64_t v = 0; v < kTileValues; ++v)
      simd().multiply(values + v * spread, stride_, weights + v * weight_spread(), shape_.channels, count,
                      results + v * result_spread());
    for (int64_t t = 0; t < count; ++t) finish_tile(first + t, panel, results + t * kChannelPanel);
  }

  // Calls f(image, y, x) with the first px of a tile's output.
  template <typename F>
  void locate(int64_t tile, const F& f) const {
    f(tile / (rows_ * columns_), tile / columns_ % rows_ * kTileOutput, tile % columns_ * kTileOutput);
  }

  void transform_tile(int64_t tile, float* values, int64_t spread) const {
    const float* pixels[kTileValues];
    locate(tile, [&](int64_t image, int64_t top, int64_t left) {
      for (int64_t i = 0; i < kTileInput; ++i) {
        const int64_t y = top + i - shape_.padding;
        for (int64_t j = 0; j < kTileInput; ++j) {
          const int64_t x = left + j - shape_.padding;
          const bool inside = y >= 0 && y < shape_.height && x >= 0 && x < shape_.width;
          pixels[i * kTileInput + j] =
              inside ? input_ + ((image * shape_.height + y) * shape_.width + x) * shape_.channels : nowhere_.data();
        }
      }
    });
    simd().transform_input(pixels, shape_.channels, values, spread);
  }

  void finish_tile(int64_t tile, int64_t panel, const float* values) const {
    float unwanted[kChannelPanel];
    float* pixels[kTileOutput * kTileOutput];
    locate(tile, [&](int64_t image, int64_t top, int64_t left) {
      for (int64_t i = 0; i < kTileOutput; ++i) {
        for (int64_t j = 0; j < kTileOutput; ++j) {
          const int64_t y = top + i, x = left + j;
          const int64_t pixel = (image * shape_.output_height + y) * shape_.output_width + x;
          const bool inside = y < shape_.output_height && x < shape_.output_width;
          pixels[i * kTileOutput + j] = inside ? output_ + pixel * shape_.output_channels + panel : unwanted;
        }
      }
    });
    simd().transform_output(values, result_spread(), bias_ + panel, pixels);
  }

  ConvolutionShape shape_;
  const float *input_, *weights_;
  WeightStrides strides_;
  const float* bias_;
  float* output_;
  int64_t rows_, columns_, tiles_, stride_;
  std::vector<float> nowhere_;  // what lies outside of the input
};

}  // namespace cnnfast::convolution
