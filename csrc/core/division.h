// Integer division that rounds up.
#pragma once

#include <cstdint>

#include "core/types.h"

namespace cnnfast {

CNNFAST_HOST_DEVICE inline int64_t divide_up(int64_t value, int64_t divisor) { return (value + divisor - 1) / divisor; }
CNNFAST_HOST_DEVICE inline int64_t round_up(int64_t value, int64_t multiple) {
  return divide_up(value, multiple) * multiple;
}

}  // namespace cnnfast
