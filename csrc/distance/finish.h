// From rows of squared distances to results in memory.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <vector>

#include "distance/distance_math.h"
#include "distance/lanes.h"
#include "distance/table.h"
#include "distance/tiles.h"

namespace cnnfast::distance {

// The memory of the results.
struct DistanceOutput {
  void* data;
  int64_t height, width;
  int one_hot_bytes;  // of an element of the planes of bins, 0 for everything else
  uint64_t one;       // its bits

  template <typename E>
  E* row(int64_t plane, int64_t y) const {
    return static_cast<E*>(data) + (plane * height + y) * width;
  }
  template <typename Bits>
  void store_planes(int64_t bins, const uint8_t* labels, int64_t plane, int64_t y, int64_t first, int64_t n) const {
    for (int64_t bin = 1; bin <= bins; ++bin) {
      Bits* to = row<Bits>(plane * bins + bin - 1, y) + first;
      for (int64_t x = 0; x < n; ++x) to[x] = labels[x] == bin ? Bits(one) : Bits(0);
    }
  }
  // Bins of n pixels as labels or as planes.
  void store_bins(int64_t bins, const uint8_t* labels, int64_t plane, int64_t y, int64_t first, int64_t n) const {
    const char* bytes = reinterpret_cast<const char*>(labels);
    if (one_hot_bytes == 0) return copy_bytes(bytes, n, reinterpret_cast<char*>(row<uint8_t>(plane, y) + first));
    if (one_hot_bytes == 1) return store_planes<uint8_t>(bins, labels, plane, y, first, n);
    if (one_hot_bytes == 2) return store_planes<uint16_t>(bins, labels, plane, y, first, n);
    if (one_hot_bytes == 4) return store_planes<uint32_t>(bins, labels, plane, y, first, n);
    store_planes<uint64_t>(bins, labels, plane, y, first, n);
  }
};

// Bins of pixel distances: the k-th bin begins above the square of floor(k R / K).
template <typename T>
class CountBins {
 public:
  CountBins(const DistanceOutput& output, const DistanceResult& result, int64_t lanes)
      : output_(output), bins_(result.bins), labels_(std::make_unique<LaneRow<uint8_t>>(lanes)), lanes_(lanes) {
    for (int64_t k = 0; k < bins_; ++k) {
      const int64_t below = k * result.whole_radius / bins_;
      thresholds_.push_back(T(below * below));
    }
  }

  void operator()(const T* squares, const std::vector<Segment>& segments, int64_t begin, int64_t end, int64_t y) const {
    uint8_t* labels = labels_->get();
    std::fill(labels, labels + begin, 0);
    std::fill(labels + end, labels + lanes_, 0);
    square_kernels<T>().count(squares + begin, thresholds_.data(), bins_, end - begin, labels + begin);
    for (const Segment& s : segments)
      output_.store_bins(bins_, labels + s.wanted_at(), s.plane, y, s.wanted_first, s.wanted_count);
  }

 private:
  DistanceOutput output_;
  int64_t bins_;
  std::unique_ptr<LaneRow<uint8_t>> labels_;
  int64_t lanes_;
  std::vector<T> thresholds_;
};

// Other results, from a lookup table over squares. With `keeps`, pixels whose square is 0 are not written.
template <typename T, typename Out>
class LookUp {
 public:
  template <typename F>
  LookUp(const DistanceOutput& output, int64_t radius, bool keeps, const F& result_of)
      : output_(output), keeps_(keeps), table_(radius * radius + 1) {
    for (int64_t square = 1; square < radius * radius; ++square) table_[square] = result_of(square);
    table_[radius * radius] = result_of(kNowhere);
  }

  void operator()(const T* squares, const std::vector<Segment>& segments, int64_t, int64_t, int64_t y) const {
    for (const Segment& s : segments) {
      Out* to = output_.row<Out>(s.plane, y) + s.wanted_first;
      const T* from = squares + s.wanted_at();
      for (int64_t x = 0; x < s.wanted_count; ++x)
        if (from[x] != 0 || !keeps_) to[x] = table_[from[x]];
    }
  }

 private:
  DistanceOutput output_;
  bool keeps_;
  std::vector<Out> table_;
};

}  // namespace cnnfast::distance
