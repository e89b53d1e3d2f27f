// A mask of any integer type and any strides, read row by row.
#pragma once

#include <bit>
#include <cstdint>
#include <cstring>

#include "core/tensors.h"

namespace cnnfast::distance {

// memcpy without a function call for short rows: a call a row would take longer than copying a small mask.
inline void copy_bytes(const char* from, int64_t bytes, char* to) {
  if (bytes > 256) {
    std::memcpy(to, from, size_t(bytes));
    return;
  }
  int64_t done = 0;
  for (; done + 16 <= bytes; done += 16) std::memcpy(to + done, from + done, 16);
  if (done == bytes) return;
  if (bytes >= 16) {
    std::memcpy(to + bytes - 16, from + bytes - 16, 16);
  } else if (bytes >= 8) {
    std::memcpy(to, from, 8);
    std::memcpy(to + bytes - 8, from + bytes - 8, 8);
  } else if (bytes >= 4) {
    std::memcpy(to, from, 4);
    std::memcpy(to + bytes - 4, from + bytes - 4, 4);
  } else {
    for (int64_t i = 0; i < bytes; ++i) to[i] = from[i];
  }
}

struct Mask {
  const char* data;
  int64_t planes, height, width;
  int64_t plane_stride, row_stride, column_stride;  // bytes
  int log_size;                                     // of the bytes of an element

  explicit Mask(const Tensor& mask)
      : data(static_cast<const char*>(mask.const_data_ptr())),
        planes(mask.size(0)),
        height(mask.size(1)),
        width(mask.size(2)),
        plane_stride(mask.stride(0) * mask.element_size()),
        row_stride(mask.stride(1) * mask.element_size()),
        column_stride(mask.stride(2) * mask.element_size()),
        log_size(std::countr_zero(uint64_t(mask.element_size()))) {}

  int64_t element_size() const { return int64_t(1) << log_size; }

  // Copies the elements first, ..., first + count - 1 of a row to contiguous memory.
  void copy(int64_t plane, int64_t y, int64_t first, int64_t count, char* to) const {
    const char* from = data + plane * plane_stride + y * row_stride + first * column_stride;
    if (column_stride == element_size()) {
      copy_bytes(from, count << log_size, to);
    } else if (log_size == 0) {
      copy_elements<1>(from, count, to);
    } else if (log_size == 1) {
      copy_elements<2>(from, count, to);
    } else if (log_size == 2) {
      copy_elements<4>(from, count, to);
    } else {
      copy_elements<8>(from, count, to);
    }
  }

 private:
  template <int Size>
  void copy_elements(const char* from, int64_t count, char* to) const {
    for (int64_t x = 0; x < count; ++x) std::memcpy(to + x * Size, from + x * column_stride, Size);
  }
};

// The options of the transforms that concern the mask, not the result.
struct MaskRule {
  bool labels;    // values differ among the foreground
  bool border;    // one frame of background surrounds each plane
  bool inverted;  // foreground is what is zero
};

}  // namespace cnnfast::distance
