// Truncated transforms of small radius: tiles of squared distances that stay in the caches.
//
// A tile is a block of rows with a halo above and below, in the columns of one lane row. First comes the squared
// distance of every pixel to the nearest site in its row; then the squared distance in the plane is the minimum of that
// plus dy^2 over the rows y + dy. With labels, rows from the nearest site in the pixel's column on may belong to other
// objects. Their distances do no harm: there dy^2 alone is not smaller than the square of the distance to that site,
// and the minimum includes that square.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "core/memory.h"
#include "core/parallel.h"
#include "distance/lanes.h"
#include "distance/mask.h"
#include "distance/table.h"

namespace cnnfast::distance {

constexpr int64_t kTileRows = 128;

template <typename T>
const SquareKernels<T>& square_kernels();
template <>
inline const SquareKernels<uint8_t>& square_kernels() {
  return kernels().bytes;
}
template <>
inline const SquareKernels<uint16_t>& square_kernels() {
  return kernels().words;
}

// The geometry that all tiles share. Distances from `radius` pixels on are all alike: squares of radius^2 or more stand
// for them.
template <typename T>
struct TilePlan {
  int64_t radius, reach_x, reach_y, row_blocks, rows;
  LanePlan lanes;

  TilePlan(const Mask& mask, int64_t radius)
      : radius(radius),
        reach_x(std::min(radius - 1, mask.width)),
        reach_y(std::min(radius - 1, mask.height)),
        row_blocks(divide_up(mask.height, kTileRows + kTileRows / 4)),
        rows(divide_up(mask.height, row_blocks)),
        lanes(mask, reach_x, 1024 / int64_t(sizeof(T))) {}

  int64_t tiles() const { return lanes.rows() * row_blocks; }
};

// One thread's tile.
template <typename T>
class Tile {
 public:
  Tile(const Mask& mask, const MaskRule& rule, const TilePlan<T>& plan)
      : mask_(mask),
        rule_(rule),
        plan_(plan),
        n_(plan.lanes.lanes()),
        pitch_(n_ + kLaneBlock),  // rows whose length is a power of two would fall into few cache sets
        raw_{LaneRow<uint64_t>(n_), LaneRow<uint64_t>(n_)},
        base_(n_),
        spare_{LaneRow<uint8_t>(n_), LaneRow<uint8_t>(n_)},
        best_(n_),
        squares_((plan.rows + 2 * plan.reach_y) * pitch_),
        columns_(rule.labels ? (plan.rows + 2 * plan.reach_y) * n_ : 0),
        edges_(rule.labels ? (plan.rows + 2 * plan.reach_y) * n_ : 0) {}

  // Calls finish(row, segments, begin, end, y) for every row y of the tile with its squared distances, zero on what is
  // not foreground and outside of the lanes from begin to end.
  template <typename Finish>
  void run(int64_t tile, const Finish& finish) {
    plan_.lanes.segments(tile / plan_.row_blocks, segments_);
    first_ = tile % plan_.row_blocks * plan_.rows;
    last_ = std::min(first_ + plan_.rows, mask_.height);
    const int64_t top = std::max<int64_t>(first_ - plan_.reach_y, 0);
    const int64_t bottom = std::min(last_ + plan_.reach_y, mask_.height);
    begin_.assign(plan_.rows + 2 * plan_.reach_y, 0);
    end_.assign(plan_.rows + 2 * plan_.reach_y, n_);
    prepare_margins();
    for (int64_t y = first_ - plan_.reach_y; y < top; ++y) fill_outside(y);
    for (int64_t y = bottom; y < last_ + plan_.reach_y; ++y) fill_outside(y);
    if (rule_.labels) {
      measure_label_rows(top, bottom);
    } else {
      for (int64_t y = top; y < bottom; ++y) measure_row(y);
    }
    for (int64_t y = first_; y < last_; ++y) finish_row(y, finish);
  }

 private:
  const Kernels& simd() const { return kernels(); }
  int64_t index(int64_t y) const { return y - first_ + plan_.reach_y; }
  T* squares(int64_t y) const { return squares_.get() + index(y) * pitch_; }
  uint8_t* column(int64_t y) const { return columns_.get() + index(y) * n_; }
  uint8_t* edge(int64_t y) const { return edges_.get() + index(y) * n_; }
  uint8_t farthest() const { return uint8_t(plan_.radius); }

  // Lanes outside of a plane, between segments, are background with a border, else as good as foreground.
  void prepare_margins() {
    const bool background = rule_.border && !rule_.labels;
    for (const auto& raw : raw_) raw.fill(background == rule_.inverted ? 0x0101010101010101u : 0);
    base_.fill(background ? 0 : farthest());
  }
  void fill_outside(int64_t y) const {
    const bool background = rule_.border && !rule_.labels;
    std::fill_n(squares(y), n_, T(background ? 0 : plan_.radius * plan_.radius));
  }
  void load(int64_t y, char* raw) const {
    for (const Segment& s : segments_) mask_.copy(s.plane, y, s.first, s.count, raw + (s.at << mask_.log_size));
  }

  void measure_row(int64_t y) {
    char* raw = reinterpret_cast<char*>(raw_[0].get());
    load(y, raw);
    simd().foreground[mask_.log_size](raw, rule_.inverted, farthest(), n_, base_.get());
    int64_t begin = 0, end = n_;
    while (begin < end && is_background(begin)) begin += kLaneBlock;
    while (begin < end && is_background(end - kLaneBlock)) end -= kLaneBlock;
    T* row = squares(y);
    std::fill(row, row + begin, T(0));
    std::fill(row + end, row + n_, T(0));
    begin_[index(y)] = begin;
    end_[index(y)] = end;
    if (begin < end) spread_and_square(begin, end, row);
  }
  bool is_background(int64_t block) const {
    uint64_t words[kLaneBlock / 8], any = 0;
    std::memcpy(words, base_.get() + block, sizeof words);
    for (const uint64_t word : words) any |= word;
    return any == 0;
  }
  void spread_and_square(int64_t begin, int64_t end, T* row) const {
    const uint8_t* distances = simd().spread(base_.get() + begin, end - begin, plan_.reach_x, spare_[0].get() + begin,
                                             spare_[1].get() + begin);
    square_kernels<T>().square(distances, end - begin, row + begin);
  }

  void measure_label_rows(int64_t top, int64_t bottom) {
    const std::vector<uint8_t> never(n_, 0), always(n_, 1), farthest_row(n_, farthest());
    for (int64_t y = top; y < bottom; ++y) {
      char* raw = reinterpret_cast<char*>(raw_[y & 1].get());
      const char* above = reinterpret_cast<char*>(raw_[~y & 1].get());
      load(y, raw);
      measure_label_row(y, raw);
      if (y > top) simd().differences[mask_.log_size](above, raw, n_, edge(y));
      const uint8_t* edges = y > top ? edge(y) : y == 0 && rule_.border ? always.data() : never.data();
      simd().foreground[mask_.log_size](raw, false, 1, n_, spare_[0].get());
      simd().follow(spare_[0].get(), edges, y > top ? column(y - 1) : farthest_row.data(), farthest(), n_, column(y));
    }
    for (int64_t y = bottom - 1; y >= top; --y) {
      const bool at_end = y == bottom - 1, framed = y == mask_.height - 1 && rule_.border;
      const uint8_t* edges = !at_end ? edge(y + 1) : framed ? always.data() : never.data();
      simd().follow_back(edges, at_end ? farthest_row.data() : column(y + 1), n_, column(y));
    }
  }
  void measure_label_row(int64_t y, const char* raw) const {
    uint8_t* edges = spare_[0].get();
    simd().differences[mask_.log_size](raw, raw + mask_.element_size(), n_, edges);
    simd().beside_edges(edges, farthest(), n_, base_.get());
    int64_t done = 0;
    for (const Segment& s : segments_) {
      const int64_t left = s.at, right = s.at + s.count - 1;
      std::fill(base_.get() + done, base_.get() + left, farthest());
      const bool ends_left = rule_.border && s.first == 0,
                 ends_right = rule_.border && s.first + s.count == mask_.width;
      base_[left] = ends_left || (s.count > 1 && edges[left]) ? 1 : farthest();
      if (s.count > 1 && edges[right - 1]) base_[right] = 1;
      if (right > left && !edges[right - 1]) base_[right] = farthest();
      if (ends_right) base_[right] = 1;
      done = right + 1;
    }
    std::fill(base_.get() + done, base_.get() + n_, farthest());
    spread_and_square(0, n_, squares(y));
  }

  template <typename Finish>
  void finish_row(int64_t y, const Finish& finish) {
    const int64_t begin = begin_[index(y)], end = end_[index(y)];
    T* best = best_.get();
    std::fill(best, best + begin, T(0));
    std::fill(best + end, best + n_, T(0));
    const T* start = squares(y);
    if (rule_.labels) {
      square_kernels<T>().square(column(y), n_, best);
      for (int64_t x = 0; x < n_; ++x) best[x] = std::min(best[x], start[x]);
      start = best;
    }
    if (begin < end)
      square_kernels<T>().nearest(squares(y) + begin, pitch_, start + begin, end - begin, plan_.reach_y, best + begin);
    finish(best, segments_, begin, end, y);
  }

  const Mask& mask_;
  const MaskRule rule_;
  const TilePlan<T>& plan_;
  const int64_t n_, pitch_;
  LaneRow<uint64_t> raw_[2];  // elements of the mask's size
  LaneRow<uint8_t> base_;
  LaneRow<uint8_t> spare_[2];
  LaneRow<T> best_;
  Scratch<T> squares_;
  Scratch<uint8_t> columns_, edges_;
  std::vector<Segment> segments_;
  std::vector<int64_t> begin_, end_;  // of the lanes that hold foreground, by row
  int64_t first_ = 0, last_ = 0;
};

// Calls the functor that make_finish() returns, one a thread, for every row of every tile.
template <typename T, typename MakeFinish>
void transform_tiles(const Mask& mask, const MaskRule& rule, int64_t radius, const MakeFinish& make_finish) {
  const TilePlan<T> plan(mask, radius);
  const int64_t workers = worker_count(plan.tiles(), mask.planes * mask.height * mask.width);
  std::vector<std::unique_ptr<Tile<T>>> tiles(workers);
  std::vector<decltype(make_finish(int64_t{}))> finishes;
  finishes.reserve(workers);
  for (int64_t worker = 0; worker < workers; ++worker) finishes.push_back(make_finish(plan.lanes.lanes()));
  for_each_item(plan.tiles(), workers, [&](int64_t worker, int64_t item, int64_t) {
    if (!tiles[worker]) tiles[worker] = std::make_unique<Tile<T>>(mask, rule, plan);
    tiles[worker]->run(item, finishes[worker]);
  });
}

}  // namespace cnnfast::distance
