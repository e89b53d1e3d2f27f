// Which kernel computes a call: tensor cores where their results have the promised precision, else float32 or float64
// arithmetic. cuBLAS computes none: its float32 sums over M positions drift with M, and it multiplies both triangles of
// a symmetric matrix. With its larger tiles it may win from a thousand channels on; `eager` in the benchmarks is it.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/Exception.h>

#include "core/runtime.h"
#include "gram/cuda_apply.h"
#include "gram/cuda_mma_apply.h"
#include "gram/cuda_mma_products.h"
#include "gram/cuda_products.h"

namespace cnnfast::gram {

// Whether float32 may be rounded to TF32: torch's setting for matrix products. The stable ABI does not tell it, so the
// operator asks Python, at run time as torch's own matrix product does.
inline bool allows_tf32() {
  StableIValue answer = 0;
  STABLE_TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("cnnfast::_allows_tf32", "", &answer, TORCH_ABI_VERSION));
  return torch::stable::detail::to<bool>(answer);
}

// Halves are multiplied exactly, float32 only if it may be rounded, and the code must be there: GPUs before compute
// capability 8.0 lack the instructions.
template <typename E, typename Kernel>
bool takes_tensor_cores(Kernel kernel) {
  return compiled_for(kernel) >= 80 && (sizeof(E) == 2 || allows_tf32());
}

// A weighted or centred feature has more bits than its type, so those are left to the plain kernel.
template <typename E>
auto choose_products_kernel(const ProductsArguments<E>& p) -> void (*)(ProductsArguments<E>) {
  if constexpr (has_mma<E>) {
    const bool plain = !p.weights.data && !p.x_means && !p.y_means;
    const bool rows = p.x.pixel_stride == 1 && p.y.pixel_stride == 1;
    const bool last = p.x.channel_stride == 1 && p.y.channel_stride == 1;
    if (plain && (rows || last)) {
      const auto kernel = rows ? &mma_products_kernel<E, false> : &mma_products_kernel<E, true>;
      if (takes_tensor_cores<E>(kernel)) return kernel;
    }
  }
  return &products_kernel<E>;
}

template <typename E>
auto choose_apply_kernel(const ApplyArguments<E>& p) -> void (*)(ApplyArguments<E>) {
  if constexpr (has_mma<E>) {
    const bool neighbours = p.last ? p.x.channel_stride == 1 : p.x.pixel_stride == 1;
    if (!p.weights.data && !p.means && neighbours) {
      const auto kernel = p.last ? &mma_apply_kernel<E, true> : &mma_apply_kernel<E, false>;
      if (takes_tensor_cores<E>(kernel)) return kernel;
    }
  }
  return &apply_kernel<E>;
}

}  // namespace cnnfast::gram
