// Channel mixing: output_n = sum_r A_nr ((x_n - mu_nr) w_nr), the work behind every gradient of the Gram family.
#pragma once

#include <algorithm>
#include <vector>

#include "core/parallel.h"
#include "gram/features.h"

namespace cnnfast {

// Pixels go by strips whose panel (depth x strip) stays in a second-level cache; every strip is computed by one thread, so
// there is nothing to reduce.
constexpr int64_t kStripBytes = 256 * 1024;
constexpr int64_t kLongestStrip = 1024;

// The matrices A, transposed: for each image, R * x.channels rows of `stride` elements, of which `channels` are used.
template <typename T>
struct Mixing {
  Scratch<T> data;
  int64_t channels, stride, rows;

  Mixing(int64_t batch, int64_t rows, int64_t channels, int64_t lanes)
      : data(batch * rows * (round_up(channels, lanes) + lanes)),
        channels(channels),
        stride(round_up(channels, lanes) + lanes),
        rows(rows) {
    std::fill(data.get(), data.get() + batch * rows * stride, T(0));
  }
  T* image(int64_t n) const { return data.get() + n * rows * stride; }
};

// output: (N, M, channels) if x is channels_last, else (N, channels, M), contiguous
template <typename E>
void apply(const Mixing<accumulate_t<E>>& mixing, const Features<E>& x, const PixelWeights<accumulate_t<E>>& weights,
           const accumulate_t<E>* shift, E* output) {
  using T = accumulate_t<E>;
  const GramKernels<E>& simd = gram_kernels<E>();
  const int64_t depth = weights.regions * x.channels, strip_unit = 3 * simd.lanes;
  const int64_t longest = std::min(kStripBytes / int64_t(sizeof(T)) / std::max<int64_t>(depth, 1), kLongestStrip);
  const int64_t strip = std::max<int64_t>(longest / strip_unit, 1) * strip_unit;
  const int64_t strips = divide_up(x.pixels, strip), items = x.batch * strips;
  if (items == 0 || mixing.channels == 0) return;
  const int64_t stride = strip + simd.lanes;  // not a power of two: rows must not fall into the same cache sets
  const bool changed = weights.data || shift;
  const int64_t workers = worker_count(items), size = round_up((depth + 1) * stride, 64 / int64_t(sizeof(T)));
  const Scratch<T> memory(workers * size);

  for_each_item(items, workers, [&](int64_t worker, int64_t item) {
    const int64_t n = item / strips, start = item % strips * strip;
    const int64_t pixels = std::min(strip, x.pixels - start), padded = round_up(pixels, simd.lanes);
    T* panel = memory.get() + worker * size;
    T* factors = panel + depth * stride;
    for (int64_t r = 0; r < weights.regions; ++r) {
      T* rows = panel + r * x.channels * stride;
      simd.pack(x.at(n, 0, start), x.channel_stride, x.pixel_stride, x.channels, x.channels, pixels, rows, stride);
      if (!changed) continue;
      const T* row = weights.row(n, r);
      for (int64_t k = 0; k < padded; ++k) factors[k] = k >= pixels ? T(0) : row ? row[start + k] : T(1);
      const T* means = shift ? shift + (n * weights.regions + r) * x.channels : nullptr;
      simd.shift_and_scale(rows, means, factors, x.channels, padded, rows, stride);
    }
    const T* mix = mixing.image(n);
    if (x.channels_last()) {
      simd.multiply(panel, stride, mix, mixing.stride, depth, pixels, mixing.channels,
                    output + (n * x.pixels + start) * mixing.channels, mixing.channels);
    } else {
      simd.multiply(mix, mixing.stride, panel, stride, depth, mixing.channels, pixels,
                    output + n * mixing.channels * x.pixels + start, x.pixels);
    }
  });
}

}  // namespace cnnfast
