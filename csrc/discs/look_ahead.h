// Rows of tensors that are needed soon, to be prefetched while sums are computed. Planes lie far apart, and the
// hardware prefetcher would start anew in every row.
#pragma once

#include <cstdint>
#include <vector>

#include "discs/table.h"

namespace cnnfast::discs {

class LookAhead {
 public:
  void clear() { runs_.clear(), lines_ = 0; }

  template <typename E>
  void add(const E* row, int64_t count) {
    if (count <= 0) return;
    const auto* begin = reinterpret_cast<const char*>(row);
    const auto* end = reinterpret_cast<const char*>(row + count);
    runs_.push_back({begin, end});
    lines_ += (end - begin) / kCacheLine + 1;
  }

  Ahead start() const { return {runs_.data(), runs_.data() + runs_.size(), nullptr, lines_}; }

 private:
  std::vector<MemoryRun> runs_;
  int64_t lines_ = 0;
};

}  // namespace cnnfast::discs
