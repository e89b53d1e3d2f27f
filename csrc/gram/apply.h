// Channel mixing: output_n = sum_r A_nr ((x_n - mu_nr) w_nr), the work behind every gradient of the Gram family.
#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include "core/memory.h"
#include "core/parallel.h"
#include "gram/features.h"
#include "gram/table.h"

namespace cnnfast::gram {

// Pixels are processed in strips whose panel (depth x strip) stays in a second-level cache; one thread computes a
// strip, so there is nothing to reduce.
constexpr int64_t kStripBytes = 256 * 1024;
constexpr int64_t kLongestStrip = 1024;
// An output of this size is written with streaming stores: it would only evict everything else from the caches.
constexpr int64_t kLargeBytes = int64_t(32) << 20;

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

template <typename E>
class Application {
 public:
  using T = accumulate_t<E>;

  // output: (N, M, channels) if x is channels_last, else (N, channels, M), contiguous. shift: (N, R, C) or null
  Application(const Mixing<T>& mixing, const Features<E>& x, const PixelWeights<T>& weights, const T* shift, E* output)
      : mixing_(mixing),
        x_(x),
        weights_(weights),
        shift_(shift),
        output_(output),
        depth_(weights.regions * x.channels) {
    const int64_t unit = 3 * simd().lanes;
    const int64_t longest = std::min(kStripBytes / int64_t(sizeof(T)) / std::max<int64_t>(depth_, 1), kLongestStrip);
    strip_ = std::max<int64_t>(longest / unit, 1) * unit;
    strips_ = divide_up(x.pixels, strip_);
    stride_ = strip_ + simd().lanes;  // not a power of two: rows must not fall into the same cache sets
  }

  void run() const {
    const int64_t items = x_.batch * strips_,
                  workers = worker_count(items, x_.batch * depth_ * mixing_.channels * x_.pixels);
    if (mixing_.channels == 0) return;
    const bool changed = weights_.data || shift_;
    const int64_t panel = x_.channels * stride_;
    const int64_t size = round_up(2 * panel + (changed ? depth_ + 1 : 0) * stride_, kCacheLine / int64_t(sizeof(T)));
    const Scratch<T> memory(workers * size);
    std::vector<Worker> states(workers);
    for (int64_t i = 0; i < workers; ++i) {
      T* begin = memory.get() + i * size;
      states[i] = {begin, begin + panel, begin + 2 * panel, begin + 2 * panel + depth_ * stride_, -1};
    }
    for_each_item(items, workers, [&](int64_t worker, int64_t position, int64_t next_position) {
      const int64_t item = side_by_side(position, items, workers);
      const int64_t next = next_position < 0 ? -1 : side_by_side(next_position, items, workers);
      Worker& w = states[worker];
      if (w.prepared != item) {
        Packing<T> packing = pack(item, w.current);
        packing.advance(packing, packing.steps);
      }
      const T* panel = changed ? changed_panel(w, item) : w.current;
      if (next < 0) {
        multiply(item, panel, nullptr);
      } else {
        Packing<T> ahead = pack(next, w.spare);
        multiply(item, panel, &ahead);
        std::swap(w.current, w.spare);
      }
      w.prepared = next;
    });
  }

 private:
  struct Worker {
    T *current, *spare, *changed, *factors;
    int64_t prepared;  // the item that is packed already
  };

  static const ElementKernels<E>& simd() { return kernels().of<E>(); }
  int64_t start(int64_t item) const { return item % strips_ * strip_; }
  int64_t pixels(int64_t item) const { return std::min(strip_, x_.pixels - start(item)); }

  bool large() const { return x_.batch * mixing_.channels * x_.pixels * int64_t(sizeof(E)) >= kLargeBytes; }

  Packing<T> pack(int64_t item, T* panel) const {
    return simd().pack(x_.at(item / strips_, 0, start(item)), x_.channel_stride, x_.pixel_stride, x_.channels,
                       x_.channels, pixels(item), panel, stride_);
  }

  // (x - mu_r) w_r for every region, one below the other.
  const T* changed_panel(const Worker& w, int64_t item) const {
    const int64_t n = item / strips_, padded = round_up(pixels(item), simd().lanes);
    for (int64_t r = 0; r < weights_.regions; ++r) {
      const T* row = weights_.row(n, r);
      for (int64_t k = 0; k < padded; ++k) w.factors[k] = k >= pixels(item) ? T(0) : row ? row[start(item) + k] : T(1);
      const T* means = shift_ ? shift_ + (n * weights_.regions + r) * x_.channels : nullptr;
      simd().shift_and_scale(w.current, means, w.factors, x_.channels, padded, w.changed + r * x_.channels * stride_,
                             stride_);
    }
    return w.changed;
  }

  void multiply(int64_t item, const T* panel, Packing<T>* ahead) const {
    const int64_t n = item / strips_, channels = mixing_.channels;
    const T* mix = mixing_.image(n);
    if (x_.channels_last()) {
      simd().multiply(panel, stride_, mix, mixing_.stride, depth_, pixels(item), channels,
                      output_ + (n * x_.pixels + start(item)) * channels, channels, large(), ahead);
    } else {
      simd().multiply(mix, mixing_.stride, panel, stride_, depth_, channels, pixels(item),
                      output_ + n * channels * x_.pixels + start(item), x_.pixels, large(), ahead);
    }
  }

  const Mixing<T>& mixing_;
  Features<E> x_;
  PixelWeights<T> weights_;
  const T* shift_;
  E* output_;
  int64_t depth_, strip_, strips_, stride_;
};

}  // namespace cnnfast::gram
