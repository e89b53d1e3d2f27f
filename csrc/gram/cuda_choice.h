// Chooses the kernel of a call: tensor cores where they keep the promised precision, else float32 or float64
// arithmetic. cuBLAS is not used: the error of its float32 sums grows with the number of pixels, and it computes both
// triangles of a symmetric matrix. Its larger tiles may be faster from a thousand channels on; `eager` in the
// benchmarks measures it.
#pragma once

#include "core/runtime.h"
#include "core/tensors.h"
#include "gram/cuda_apply.h"
#include "gram/cuda_mma_apply.h"
#include "gram/cuda_mma_products.h"
#include "gram/cuda_products.h"

namespace cnnfast::gram {

// Whether float32 may be rounded to TF32: torch's setting for matrix products, read at every call as torch's own matrix
// products do. The stable ABI does not expose it, so an operator answers: from cnnfast/_precision.py or csrc/ops.cpp.
inline bool allows_tf32() {
  StableIValue answer = 0;
  STABLE_TORCH_ERROR_CODE_CHECK(torch_call_dispatcher("cnnfast::_allows_tf32", "", &answer, TORCH_ABI_VERSION));
  return torch::stable::detail::to<bool>(answer);
}

// Products of halves are exact; those of float32 are not, so TF32 must be allowed. GPUs before compute capability 8.0
// lack the instructions.
template <typename E, typename Kernel>
bool takes_tensor_cores(Kernel kernel) {
  return compiled_for(kernel) >= 80 && (sizeof(E) == 2 || allows_tf32());
}

// A weighted or centred feature has more bits than its type holds, so these calls take the plain kernel.
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
