// Masks as the kernels on CUDA read them: values, and where neighbouring values differ.
#pragma once

#include <cstdint>

#include "core/runtime.h"

namespace cnnfast::distance {

// P planes of H * W pixels. E has the width of the mask's type: only equality matters.
template <typename E>
struct MaskPlanes {
  const E* data;
  int height, width;
  bool labels;  // values differ among the foreground
  bool border;  // one frame of background surrounds each plane

  __device__ bool inside(int y, int x) const { return y >= 0 && y < height && x >= 0 && x < width; }
  // 0 outside of the plane.
  __device__ E value(int64_t plane, int y, int x) const {
    if (!inside(y, x)) return 0;
    const E found = data[(plane * height + y) * width + x];
    return labels ? found : E(found != 0);
  }
  // Whether a pixel and a neighbour of it belong to different sides, values a and b.
  __device__ bool differ(E a, bool a_inside, E b, bool b_inside) const {
    return a != b && (border || (a_inside && b_inside));
  }
};

}  // namespace cnnfast::distance
