// What caches move at once, and what parts of working memory that belong to different threads should not share.
#pragma once

#include <cstdint>

namespace cnnfast {

constexpr int64_t kCacheLine = 64;

}  // namespace cnnfast
