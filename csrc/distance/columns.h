// Distances along the columns of planes of any size, written to memory.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

#include "core/parallel.h"
#include "distance/lanes.h"
#include "distance/mask.h"
#include "distance/table.h"

namespace cnnfast::distance {

// Where the distances of a row begin: `pitch` elements after those of the row before, the rows of all planes in order.
template <typename V>
struct ColumnMemory {
  V* data;
  int64_t height, pitch;

  V* row(int64_t plane, int64_t y) const { return data + (plane * height + y) * pitch; }
};

// Distance of every pixel to the nearest site in its column, `farthest` where none is nearer. V is uint8_t: 0 on
// background; or int32_t: on background minus the distance to the nearest pixel of another value.
template <typename V>
class ColumnPass {
 public:
  ColumnPass(const Mask& mask, const MaskRule& rule, V farthest, const ColumnMemory<V>& out, const LanePlan& plan)
      : mask_(mask),
        rule_(rule),
        farthest_(farthest),
        out_(out),
        plan_(plan),
        n_(plan.lanes()),
        raw_{LaneRow<uint64_t>(n_), LaneRow<uint64_t>(n_)},
        foreground_{LaneRow<uint8_t>(n_), LaneRow<uint8_t>(n_)},
        edges_(n_),
        rows_{LaneRow<V>(n_), LaneRow<V>(n_)} {
    for (const auto& raw : raw_) raw.fill(0);
  }

  void run(int64_t item) {
    plan_.segments(item, segments_);
    for (int64_t y = 0; y < mask_.height; ++y)
      step(y, y - 1, y == 0, [&](V* row, const V* before) {
        if constexpr (std::is_same_v<V, uint8_t>) {
          simd().follow(foreground(y), edges_.get(), before, farthest_, n_, row);
        } else {
          simd().follow_signed(foreground(y), edges_.get(), before, farthest_, n_, row);
        }
      });
    for (int64_t y = mask_.height - 1; y >= 0; --y)
      step(y, y + 1, y == mask_.height - 1, [&](V* row, const V* before) {
        for (const Segment& s : segments_) std::copy_n(memory(s, y), s.wanted_count, row + s.at);
        if constexpr (std::is_same_v<V, uint8_t>) {
          simd().follow_back(edges_.get(), before, n_, row);
        } else {
          simd().follow_signed_back(edges_.get(), before, n_, row);
        }
      });
  }

 private:
  const Kernels& simd() const { return kernels(); }
  char* raw(int64_t y) const { return reinterpret_cast<char*>(raw_[y & 1].get()); }
  uint8_t* foreground(int64_t y) const { return foreground_[y & 1].get(); }
  V* memory(const Segment& s, int64_t y) const { return out_.row(s.plane, y) + s.wanted_first; }

  // advance(row, row before) with the edges between the two in edges_
  template <typename Advance>
  void step(int64_t y, int64_t neighbour, bool is_first, const Advance& advance) {
    for (const Segment& s : segments_) mask_.copy(s.plane, y, s.first, s.count, raw(y) + (s.at << mask_.log_size));
    simd().foreground[mask_.log_size](raw(y), false, 1, n_, foreground(y));
    V *row = rows_[y & 1].get(), *before = rows_[~y & 1].get();
    if (is_first) {
      std::fill_n(before, n_, farthest_);
      // The frame is nearest for the foreground alone.
      for (int64_t x = 0; x < n_; ++x) edges_[x] = rule_.border ? foreground(y)[x] : 0;
    } else if (rule_.labels) {
      simd().differences[mask_.log_size](raw(neighbour), raw(y), n_, edges_.get());
    } else {
      simd().differences[0](foreground(neighbour), foreground(y), n_, edges_.get());
    }
    advance(row, before);
    for (const Segment& s : segments_) std::copy_n(row + s.at, s.wanted_count, memory(s, y));
  }

  const Mask& mask_;
  const MaskRule rule_;
  const V farthest_;
  const ColumnMemory<V> out_;
  const LanePlan& plan_;
  const int64_t n_;
  LaneRow<uint64_t> raw_[2];  // elements of the mask's size
  LaneRow<uint8_t> foreground_[2];
  LaneRow<uint8_t> edges_;
  LaneRow<V> rows_[2];
  std::vector<Segment> segments_;
};

template <typename V>
void measure_columns(const Mask& mask, const MaskRule& rule, V farthest, const ColumnMemory<V>& out) {
  const LanePlan plan(mask, 0, 512);
  const int64_t workers = worker_count(plan.rows(), mask.planes * mask.height * mask.width);
  std::vector<std::unique_ptr<ColumnPass<V>>> passes(workers);
  for_each_item(plan.rows(), workers, [&](int64_t worker, int64_t item, int64_t) {
    if (!passes[worker]) passes[worker] = std::make_unique<ColumnPass<V>>(mask, rule, farthest, out, plan);
    passes[worker]->run(item);
  });
}

}  // namespace cnnfast::distance
