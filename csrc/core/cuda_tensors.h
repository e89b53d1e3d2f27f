// The device check and the dispatch over element types of the CUDA kernels.
#pragma once

#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Exception.h>
#include <torch/headeronly/util/Half.h>

#include "core/runtime.h"
#include "core/tensors.h"

namespace cnnfast {

inline void check_kernel_device(const torch::stable::Tensor& x, const char* name) {
  STD_TORCH_CHECK(on_kernel_device(x), name, ": x must be on a CUDA device");
}

// Calls f with a value of the kernels' element type.
template <typename F>
auto dispatch_on_device(const torch::stable::Tensor& x, const char* name, const F& f) {
  using torch::headeronly::ScalarType;
  check_kernel_device(x, name);
  switch (x.scalar_type()) {
    case ScalarType::Float:
      return f(float{});
    case ScalarType::Double:
      return f(double{});
    case ScalarType::Half:
      return f(c10::Half{});
    case ScalarType::BFloat16:
      return f(c10::BFloat16{});
    default:
      STD_TORCH_CHECK(false, name, ": x must be float16, bfloat16, float32 or float64");
  }
}

}  // namespace cnnfast
