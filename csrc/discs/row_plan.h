// The rows that the sums over discs consist of, and the ring buffer that keeps them while they are needed.
//
// For radius rho and row offset dy a disc is 2 h + 1 pixels wide, h = isqrt(rho^2 - dy^2). Rows of equal h are added
// first (row classes), so that a sum over K discs takes one addition a row of each disc and 2 rho more.
#pragma once

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <vector>

#include "core/memory.h"
#include "discs/discs_math.h"

namespace cnnfast::discs {

struct RowEntry {
  int64_t source;  // of the row: a bin, or the sums of runs of one half width
  int64_t dy;
};

struct RowPlan {
  std::vector<RowEntry> entries;
  std::vector<int64_t> ends;  // entries [ends[s - 1], ends[s]) belong to sum s

  int64_t sums() const { return int64_t(ends.size()); }
  int64_t longest() const { return int64_t(entries.size()); }
};

// Forward: sum s adds, to all sums before it, the bins' rows of half width rho - s, rho the largest radius.
inline RowPlan plan_classes(const std::vector<int64_t>& radii) {
  const int64_t largest = *std::max_element(radii.begin(), radii.end());
  std::vector<std::vector<RowEntry>> classes(largest + 1);
  for (int64_t n = 0; n < int64_t(radii.size()); ++n)
    for (int64_t dy = -radii[n]; dy <= radii[n]; ++dy) classes[largest - half_width(radii[n], dy)].push_back({n, dy});
  RowPlan plan;
  for (const auto& entries : classes) {
    plan.entries.insert(plan.entries.end(), entries.begin(), entries.end());
    plan.ends.push_back(plan.longest());
  }
  return plan;
}

// Backward: sum n adds, for every row dy of disc n, the runs of its half width.
inline RowPlan plan_discs(const std::vector<int64_t>& radii) {
  RowPlan plan;
  for (const int64_t radius : radii) {
    for (int64_t dy = -radius; dy <= radius; ++dy) plan.entries.push_back({half_width(radius, dy), dy});
    plan.ends.push_back(plan.longest());
  }
  return plan;
}

// A ring buffer of the latest rows of every source: row y of a source replaces row y - slots.
template <typename T>
class RowRing {
 public:
  RowRing(const std::vector<int64_t>& slots, int64_t row_elements)
      : slots_(slots),
        now_(slots.size()),
        pitch_(odd_lines(row_elements)),
        memory_((std::accumulate(slots.begin(), slots.end(), int64_t(0)) + 1) * pitch_) {
    std::fill_n(memory_.get(), pitch_, T(0));  // a row of zeros, then those of the sources
    T* first = memory_.get() + pitch_;
    for (const int64_t count : slots) {
      places_.push_back(int64_t(rows_.size()) + count);
      for (int64_t i = 0; i < 3 * count; ++i) rows_.push_back(first + i % count * pitch_);
      first += count * pitch_;
    }
  }

  T* row(int64_t source, int64_t y) const { return rows_[places_[source] + y % slots_[source]]; }

  // Gathers the rows that a plan adds up for the output rows y, ..., y + together - 1: those of one entry side by side
  // in `rows`, the end of every sum, counted in entries, in `ends`. Leaves out entries none of whose rows exist, and
  // calls kept(i, e) where entry e of the plan became the i-th. Of the other entries, rows that do not exist are zero.
  template <int64_t together, typename Kept>
  void gather(const RowPlan& plan, int64_t y, int64_t height, const T** rows, int64_t* ends, const Kept& kept) {
    // Rows y + dy may lie above the first one; y is shifted by a multiple of the slots.
    for (size_t s = 0; s < slots_.size(); ++s) now_[s] = places_[s] + ((y % slots_[s]) + slots_[s]) % slots_[s];
    const T* zeros = memory_.get();
    int64_t count = 0, e = 0;
    for (int64_t s = 0; s < plan.sums(); ++s) {
      for (; e < plan.ends[s]; ++e) {
        const auto [source, dy] = plan.entries[e];
        const int64_t first = y + dy;
        if (first + together <= 0 || first >= height) continue;
        for (int64_t t = 0; t < together; ++t)
          rows[count * together + t] = first + t < 0 || first + t >= height ? zeros : rows_[now_[source] + dy + t];
        kept(count++, e);
      }
      ends[s] = count;
    }
  }

 private:
  // An odd number of cache lines, so that successive rows do not fall into the same cache sets.
  static int64_t odd_lines(int64_t elements) {
    constexpr int64_t line = kCacheLine / int64_t(sizeof(T));
    return (elements + line - 1) / line / 2 * 2 * line + line;
  }

  std::vector<int64_t> slots_;
  // Pointers to the rows of every source, three times in a row: the neighbours of a row of the middle copy are found
  // without wrapping around.
  std::vector<T*> rows_;
  std::vector<int64_t> places_;  // where the middle copy of a source begins in rows_
  std::vector<int64_t> now_;     // where row y of a source is in it, during gather
  int64_t pitch_;
  Scratch<T> memory_;
};

}  // namespace cnnfast::discs
