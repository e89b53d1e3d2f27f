// The device check and the dispatch over element types of the CUDA kernels.
#pragma once

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include "core/dispatch.h"
#include "core/runtime.h"

namespace cnnfast {

inline void check_kernel_device(const Tensor& x, const char* name) {
  STD_TORCH_CHECK(on_kernel_device(x), name, ": x must be on a CUDA device");
}

template <typename F>
auto dispatch_on_device(const Tensor& x, const char* name, const F& f) {
  check_kernel_device(x, name);
  return dispatch<c10::Half, c10::BFloat16>(x, name, f);
}

}  // namespace cnnfast
