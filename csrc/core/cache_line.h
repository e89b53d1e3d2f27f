// The size of a cache line in bytes: the unit of prefetches, and what working memory of different threads must not
// share.
#pragma once

#include <cstdint>

namespace cnnfast {

constexpr int64_t kCacheLine = 64;

}  // namespace cnnfast
