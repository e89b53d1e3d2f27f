// Cuts a batch of planes into items of work: every item computes its part of the output, and waits for no other item.
#pragma once

#include <algorithm>
#include <cstdint>

#include "core/division.h"

namespace cnnfast::discs {

struct Span {
  int64_t begin, end;
  int64_t size() const { return end - begin; }
};

// `images` planes of `height` rows and `width` columns, of which each needs its neighbours up to `radius` away.
// Small planes go together, large ones are cut into bands of rows and tiles of columns, whatever the number of threads.
class Tiling {
 public:
  // elements: how much working memory, in elements for each column, the rows of one image take; 0: keep rows whole.
  Tiling(int64_t images, int64_t height, int64_t width, int64_t radius, int64_t elements)
      : images_(images), height_(height), width_(width) {
    constexpr int64_t columns_together = 128, memory = 1 << 18;
    together_ = std::clamp<int64_t>(columns_together / std::max<int64_t>(width, 1), 1, std::max<int64_t>(images, 1));
    groups_ = divide_up(images, together_);
    bands_ = std::max<int64_t>(1, height / std::max<int64_t>(64, 8 * radius));
    const int64_t columns = elements ? std::max<int64_t>(memory / elements, 8 * radius + 64) : width;
    tiles_ = width ? divide_up(width, columns) : 1;
  }

  int64_t items() const { return groups_ * bands_ * tiles_; }
  int64_t images_together() const { return together_; }
  int64_t widest() const { return divide_up(width_, tiles_); }

  Span images(int64_t item) const {
    const int64_t group = item / (bands_ * tiles_);
    return {group * together_, std::min(images_, (group + 1) * together_)};
  }
  Span rows(int64_t item) const { return part(height_, bands_, item / tiles_ % bands_); }
  Span columns(int64_t item) const { return part(width_, tiles_, item % tiles_); }

 private:
  static Span part(int64_t size, int64_t parts, int64_t index) {
    const int64_t step = divide_up(size, parts);
    return {std::min(size, index * step), std::min(size, (index + 1) * step)};
  }

  int64_t images_, height_, width_, together_, groups_, bands_, tiles_;
};

}  // namespace cnnfast::discs
