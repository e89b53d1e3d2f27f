// Lane rows: columns of one plane, or of several planes beside each other, in whole blocks.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/division.h"
#include "core/memory.h"
#include "distance/mask.h"
#include "distance/table.h"

namespace cnnfast::distance {

// A lane row with a readable block on either side.
template <typename T>
class LaneRow {
 public:
  explicit LaneRow(int64_t n) : memory_(n + 2 * kLaneBlock), n_(n) {}
  T* get() const { return memory_.get() + kLaneBlock; }
  T& operator[](int64_t x) const { return get()[x]; }
  void fill(T value) const { std::fill_n(memory_.get(), n_ + 2 * kLaneBlock, value); }

 private:
  Scratch<T> memory_;
  int64_t n_;
};

// Columns first, ..., first + count - 1 of a plane lie from lane `at` on; the result is wanted for some of them.
struct Segment {
  int64_t plane, first, count, at;
  int64_t wanted_first, wanted_count;

  int64_t wanted_at() const { return at + wanted_first - first; }
};

// How planes are cut into strips of columns, or short rows put beside each other, for lane rows of at most `most`
// lanes. `reach` is how far to the side a result looks: neighbours in a lane row are more than that apart.
class LanePlan {
 public:
  LanePlan(const Mask& mask, int64_t reach, int64_t most) : planes_(mask.planes), width_(mask.width), reach_(reach) {
    gap_ = std::max<int64_t>(reach, 1);
    if (2 * (width_ + gap_) <= most) {
      together_ = std::min(most / (width_ + gap_), planes_);
      lanes_ = round_up(together_ * (width_ + gap_), kLaneBlock);
    } else if (width_ > most) {
      strip_ = divide_up(width_, divide_up(width_, most - 2 * reach));
      strips_ = divide_up(width_, strip_);
      lanes_ = round_up(strip_ + 2 * reach, kLaneBlock);
    } else {
      lanes_ = round_up(width_, kLaneBlock);
    }
    if (strips_ == 1) strip_ = width_;
  }

  int64_t lanes() const { return lanes_; }
  int64_t rows() const { return divide_up(planes_, together_) * strips_; }

  // The segments of lane row `row` of rows().
  void segments(int64_t row, std::vector<Segment>& found) const {
    found.clear();
    const int64_t from = row / strips_ * together_, to = std::min(from + together_, planes_);
    const int64_t begin = row % strips_ * strip_, end = std::min(begin + strip_, width_);
    const int64_t first = std::max<int64_t>(begin - reach_, 0), last = std::min(end + reach_, width_);
    for (int64_t plane = from; plane < to; ++plane)
      found.push_back({plane, first, last - first, (plane - from) * (width_ + gap_), begin, end - begin});
  }

 private:
  int64_t planes_, width_, reach_, gap_, lanes_ = 0, together_ = 1, strips_ = 1, strip_ = 0;
};

}  // namespace cnnfast::distance
