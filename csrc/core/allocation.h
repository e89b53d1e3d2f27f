// Memory for results on the CPU.
#pragma once

#include <cstdint>
#include <cstdlib>
#include <optional>
#include <vector>

#include "core/tensors.h"

namespace cnnfast {

// A new tensor on the device of `like`, zero or uninitialised, in memory that prefers huge pages; by default of the
// type of `like`.
//
// A result that the system has no memory for ends in one sentence that names the function: by itself torch prints fifty
// lines of C++ on stderr and names only the allocator. Small results are not worth a look, and looking touches no
// memory.
inline Tensor new_result(const char* name, const Tensor& like, const std::vector<int64_t>& size,
                         std::optional<ScalarType> type = std::nullopt, bool zero = false) {
  constexpr double gigabyte = 1 << 30, addressable = double(int64_t(1) << 62), widest_element = 8;
  double elements = 1;
  for (const int64_t length : size) elements *= double(length);
  if (elements * widest_element > gigabyte) {
    const double bytes = elements * double(torch::stable::new_empty(like, {0}, type).element_size());
    // volatile: a compiler may leave out an allocation that nobody uses, and take it for granted
    void* volatile memory = bytes < addressable ? std::malloc(size_t(bytes)) : nullptr;
    std::free(memory);
    STD_TORCH_CHECK(memory != nullptr, name, ": expected memory for a result of ", bytes / gigabyte,
                    " GiB, got none from the system");
  }
  return on_huge_pages(zero ? torch::stable::new_zeros(like, size, type) : torch::stable::new_empty(like, size, type));
}

}  // namespace cnnfast
