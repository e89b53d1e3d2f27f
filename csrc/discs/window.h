// The packed rows of a group of images that one item of the forward computation sweeps over.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "core/division.h"
#include "discs/look_ahead.h"
#include "discs/planes.h"
#include "discs/row_plan.h"
#include "discs/tiling.h"

namespace cnnfast::discs {

// The part of the padded result that discs reach: rows and columns from `border` before the plane to as many behind it.
struct Reached {
  int64_t radius, border;

  Reached(const std::vector<int64_t>& radii, int64_t pad) : radius(largest(radii)), border(std::min(radius, pad)) {}
};

// Belongs to one worker. A row of sums has a margin around every image that is wide enough for every shift.
template <typename E>
class Window {
 public:
  using T = accumulate_t<E>;

  Window(const Bins<E>& bins, const std::vector<int64_t>& radii, const Reached& reached, const Tiling& tiling)
      : bins_(bins),
        radii_(radii),
        reached_(reached),
        lanes_(kernels().of<E>().lanes),
        margin_(round_up(reached.radius + reached.border, lanes_)),
        widest_(round_up(std::min(bins.width, tiling.widest() + 2 * reached.radius), lanes_)),
        image_pitch_(widest_ + 2 * margin_ + lanes_),
        pitch_(image_pitch_ * tiling.images_together() + lanes_),
        ring_(slots(radii), widest_ * tiling.images_together()),
        packed_(bins.kinds),
        places_(widest_ / lanes_ * tiling.images_together()) {}

  // Elements for each column that the packed rows of one image take.
  static int64_t rows_kept(const std::vector<int64_t>& radii) {
    int64_t total = 0;
    for (const int64_t count : slots(radii)) total += count;
    return total;
  }

  void begin(Span images, Span rows, Span columns) {
    images_ = images;
    first_ = columns.begin - reached_.border;
    columns_ = {std::max<int64_t>(0, first_ - reached_.radius),
                std::min(bins_.width, columns.end - reached_.border + reached_.radius)};
    padded_ = round_up(columns_.size(), lanes_);
    for (int64_t n = 0; n < bins_.kinds; ++n)
      packed_[n] = std::max<int64_t>(0, rows.begin - reached_.border - radii_[n]);
    const int64_t each = padded_ / lanes_;
    for (int64_t v = 0; v < vectors(); ++v) places_[v] = v / each * image_pitch_ + margin_ + v % each * lanes_;
  }

  // Packs what the sums up to row y of the plane need.
  void pack(int64_t y, const T* weight, bool noisy_or, T filler) {
    for (int64_t n = 0; n < bins_.kinds; ++n) {
      for (; packed_[n] < end_of_rows(n, y); ++packed_[n]) {
        T* row = ring_.row(n, packed_[n]);
        for (int64_t i = 0; i < images_.size(); ++i)
          kernels().of<E>().pack(bins_.at(images_.begin + i, n, packed_[n], columns_.begin), bins_.column_stride,
                                 columns_.size(), padded_, weight ? weight[n] : T(1), noisy_or, filler,
                                 row + i * padded_);
      }
    }
  }

  // The rows that `pack` will read for sums up to row y.
  Ahead look_ahead(int64_t y) {
    ahead_.clear();
    for (int64_t n = 0; n < bins_.kinds && bins_.column_stride == 1; ++n) {
      for (int64_t row = packed_[n]; row < end_of_rows(n, y); ++row)
        for (int64_t i = 0; i < images_.size(); ++i)
          ahead_.add(bins_.at(images_.begin + i, n, row, columns_.begin), columns_.size());
    }
    return ahead_.start();
  }

  RowRing<T>& ring() { return ring_; }
  int64_t vectors() const { return images_.size() * padded_ / lanes_; }
  const int64_t* places() const { return places_.data(); }
  int64_t pitch() const { return pitch_; }
  int64_t padded() const { return padded_; }
  // Where the first column of the result stands in image i's part of a row of sums.
  int64_t result_place(int64_t i) const { return i * image_pitch_ + margin_ + first_ - columns_.begin; }

 private:
  // Behind the last row of bin n that sums for row y reach.
  int64_t end_of_rows(int64_t n, int64_t y) const { return std::min(bins_.height, y + radii_[n] + 1); }

  static std::vector<int64_t> slots(const std::vector<int64_t>& radii) {
    std::vector<int64_t> result;
    for (const int64_t radius : radii) result.push_back(2 * radius + kRowsAtOnce);
    return result;
  }

  const Bins<E>& bins_;
  const std::vector<int64_t>& radii_;
  const Reached reached_;
  const int64_t lanes_, margin_, widest_, image_pitch_, pitch_;
  RowRing<T> ring_;
  std::vector<int64_t> packed_, places_;
  LookAhead ahead_;
  Span images_{}, columns_{};
  int64_t first_ = 0, padded_ = 0;
};

}  // namespace cnnfast::discs
