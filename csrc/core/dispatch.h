// The dispatch over element types.
#pragma once

#include "core/tensors.h"
#include "core/types.h"

namespace cnnfast {

// Calls f with a value of the element type of x. CUDA kernels have other half types than those of the CPU.
template <typename Half = half_bits, typename BFloat16 = bfloat16_bits, typename F>
auto dispatch(const Tensor& x, const char* name, const F& f) {
  switch (x.scalar_type()) {
    case ScalarType::Float:
      return f(float{});
    case ScalarType::Double:
      return f(double{});
    case ScalarType::Half:
      return f(Half{});
    case ScalarType::BFloat16:
      return f(BFloat16{});
    default:
      STD_TORCH_CHECK(false, name, ": x must be float16, bfloat16, float32 or float64");
  }
}

}  // namespace cnnfast
