// Huge pages for large buffers, and aligned working memory.
#pragma once

#include <algorithm>
#include <cstdint>
#include <new>

#if defined(__linux__)
#include <sys/mman.h>
#endif

#include "core/cache_line.h"

namespace cnnfast {

// A fresh large buffer costs a page fault every 4 KiB, several times what it costs to fill it. Huge pages, where the
// system grants them on request, make the faults 512 times fewer. Only a hint: a refusal changes nothing.
inline void prefer_huge_pages([[maybe_unused]] void* data, [[maybe_unused]] int64_t bytes) {
#if defined(__linux__) && defined(MADV_HUGEPAGE)
  constexpr uintptr_t huge = uintptr_t(2) << 20;
  const uintptr_t begin = (reinterpret_cast<uintptr_t>(data) + huge - 1) / huge * huge;
  const uintptr_t end = (reinterpret_cast<uintptr_t>(data) + uintptr_t(bytes)) / huge * huge;
  if (begin < end) static_cast<void>(madvise(reinterpret_cast<void*>(begin), end - begin, MADV_HUGEPAGE));
#endif
}

// Uninitialised working memory, aligned to the widest vector and a cache line.
template <typename T>
class Scratch {
 public:
  explicit Scratch(int64_t count)
      : data_(static_cast<T*>(::operator new(std::max<int64_t>(count, 1) * sizeof(T), std::align_val_t(kCacheLine)))) {
    prefer_huge_pages(data_, count * int64_t(sizeof(T)));
  }
  ~Scratch() { ::operator delete(data_, std::align_val_t(kCacheLine)); }
  Scratch(const Scratch&) = delete;
  Scratch& operator=(const Scratch&) = delete;

  T* get() const { return data_; }
  T& operator[](int64_t i) const { return data_[i]; }

 private:
  T* data_;
};

}  // namespace cnnfast
