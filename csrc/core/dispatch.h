// The dispatch over element types of the CPU kernels.
#pragma once

#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/Exception.h>

#include "core/types.h"

namespace cnnfast {

// Calls f with a value of the kernels' element type.
template <typename F>
auto dispatch(const torch::stable::Tensor& x, const char* name, const F& f) {
  using torch::headeronly::ScalarType;
  switch (x.scalar_type()) {
    case ScalarType::Float:
      return f(float{});
    case ScalarType::Double:
      return f(double{});
    case ScalarType::Half:
      return f(half_bits{});
    case ScalarType::BFloat16:
      return f(bfloat16_bits{});
    default:
      STD_TORCH_CHECK(false, name, ": x must be float16, bfloat16, float32 or float64");
  }
}

}  // namespace cnnfast
