// Squared distances of a row from distances along the columns, in linear time for any radius.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <type_traits>

#include "core/memory.h"
#include "distance/distance_math.h"

namespace cnnfast::distance {

// The lower envelope of the parabolas f(i) + weight (x - i)^2 of the columns i of a row (Meijster, Roerdink, Hesselink,
// ISMM 2000). Square: int64_t, exact, with weight 1; or double.
template <typename Square>
class Envelope {
 public:
  Envelope(int64_t width, Square weight)
      : weight_(weight), columns_(width + 2), starts_(width + 2), heights_(width + 2), width_(width) {}

  void clear() { count_ = 0; }

  // Columns come in increasing order.
  void add(int64_t column, Square height) {
    while (count_ > 0 && at(count_ - 1, starts_[count_ - 1]) > height + weighted(starts_[count_ - 1] - column))
      --count_;
    int64_t start = 0;
    if (count_ > 0) {
      start = first_below(count_ - 1, column, height);
      if (start >= width_) return;
    }
    columns_[count_] = column;
    heights_[count_] = height;
    starts_[count_] = start;
    ++count_;
  }

  // squares[x] = the envelope at x for all columns, `nowhere` if no parabola was added
  void evaluate(Square nowhere, Square* squares) const {
    if (count_ == 0) {
      std::fill_n(squares, width_, nowhere);
      return;
    }
    for (int64_t i = 0; i < count_; ++i) {
      const int64_t end = i + 1 < count_ ? starts_[i + 1] : width_;
      for (int64_t x = starts_[i]; x < end; ++x) squares[x] = at(i, x);
    }
  }

 private:
  Square weighted(int64_t offset) const { return weight_ * Square(offset * offset); }
  Square at(int64_t i, int64_t x) const { return heights_[i] + weighted(x - columns_[i]); }

  // The first x >= 0, at most the width, where the new parabola is below the i-th one.
  int64_t first_below(int64_t i, int64_t column, Square height) const {
    const int64_t before = columns_[i];
    const Square rise = height - heights_[i] + weight_ * Square(column * column - before * before);
    if constexpr (std::is_integral_v<Square>) {
      const int64_t run = 2 * (column - before), quotient = rise / run;
      return std::clamp<int64_t>(quotient - (rise % run < 0) + 1, 0, width_);
    } else {
      return int64_t(std::clamp(std::floor(rise / (2 * weight_ * Square(column - before))) + 1, 0.0, double(width_)));
    }
  }

  Square weight_;
  Scratch<int64_t> columns_, starts_;
  Scratch<Square> heights_;
  int64_t width_, count_ = 0;
};

// The second pass over one row at a time: squares of the foreground's, or of the background's distances.
template <typename Square>
class RowPass {
 public:
  RowPass(int64_t width, double weight_y, double weight_x, int32_t farthest)
      : width_(width),
        weight_y_(Square(weight_y)),
        weight_x_(Square(weight_x)),
        farthest_(farthest),
        envelope_(width, weight_x_),
        squares_(width) {}

  static constexpr Square nowhere() {
    if constexpr (std::is_integral_v<Square>) return kNowhere;
    return std::numeric_limits<Square>::infinity();
  }

  // columns: distances along the columns, negative (or zero) on background, whose squares stay undefined. edges:
  // whether x and x + 1 differ, none where there are no labels. border: background on either side of the row.
  const Square* foreground(const int32_t* columns, const uint8_t* edges, bool border) {
    envelope_.clear();
    if (border) envelope_.add(-1, 0);
    for (int64_t x = 0; x < width_; ++x) {
      // Of a run of background only the two ends can be the nearest site of a pixel.
      const bool is_inner = x > 0 && columns[x - 1] <= 0 && (x + 1 == width_ || columns[x + 1] <= 0);
      if (columns[x] > 0 || !is_inner) add(x, std::max(columns[x], 0));
    }
    if (border) envelope_.add(width_, 0);
    envelope_.evaluate(nowhere(), squares_.get());
    if (edges) lower_to_edges(edges);
    return squares_.get();
  }

  const Square* background(const int32_t* columns) {
    envelope_.clear();
    for (int64_t x = 0; x < width_; ++x) add(x, std::max(-columns[x], 0));
    envelope_.evaluate(nowhere(), squares_.get());
    return squares_.get();
  }

 private:
  void add(int64_t x, int64_t distance) {
    if (distance < farthest_) envelope_.add(x, weight_y_ * Square(distance * distance));
  }
  void lower_to(int64_t x, int64_t distance) {
    squares_[x] = std::min(squares_[x], weight_x_ * Square(distance * distance));
  }
  // Behind an edge the envelope holds columns of other objects, all of them farther than the edge itself.
  void lower_to_edges(const uint8_t* edges) {
    int64_t last = -1;
    for (int64_t x = 0; x < width_; ++x) {
      if (x > 0 && edges[x - 1]) last = x;
      if (last >= 0) lower_to(x, x - last + 1);
    }
    last = -1;
    for (int64_t x = width_ - 1; x >= 0; --x) {
      if (x + 1 < width_ && edges[x]) last = x;
      if (last >= 0) lower_to(x, last - x + 1);
    }
  }

  const int64_t width_;
  const Square weight_y_, weight_x_;
  const int32_t farthest_;
  Envelope<Square> envelope_;
  Scratch<Square> squares_;
};

}  // namespace cnnfast::distance
