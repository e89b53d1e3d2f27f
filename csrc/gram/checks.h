// Checks that protect memory: what the kernels of all devices require of their tensors.
#pragma once

#include <cstdint>
#include <optional>

#include "core/tensors.h"

namespace cnnfast::gram {

inline void check_features(const Tensor& x, const char* name) {
  STD_TORCH_CHECK(x.dim() == 3, name, ": features must have 3 dimensions, got ", x.dim());
}

inline void check_pair(const Tensor& x, const Tensor& y, const char* name) {
  check_features(x, name);
  check_features(y, name);
  STD_TORCH_CHECK(
      same_device(y, x) && x.scalar_type() == y.scalar_type() && x.size(0) == y.size(0) && x.size(2) == y.size(2), name,
      ": x and y must have the same type, device, batch and pixels");
}

inline void check_matrices(const Tensor& matrices, const Tensor& x, int64_t regions, int64_t rows, int64_t columns,
                           bool may_broadcast, const char* name) {
  STD_TORCH_CHECK(same_device(matrices, x) && matrices.scalar_type() == accumulation_type(x), name,
                  ": matrices must be on the device of the features in the accumulation type");
  STD_TORCH_CHECK(matrices.dim() == 4 && matrices.size(1) == regions && matrices.size(2) == rows &&
                      matrices.size(3) == columns &&
                      (matrices.size(0) == x.size(0) || (may_broadcast && matrices.size(0) == 1)),
                  name, ": matrices do not fit the features");
}

// grad (N, R) of the losses
inline void check_loss_gradient(const Tensor& grad, const Tensor& x, int64_t regions, const char* name) {
  STD_TORCH_CHECK(same_device(grad, x) && grad.scalar_type() == accumulation_type(x) && grad.dim() == 2 &&
                      grad.size(0) == x.size(0) && grad.size(1) == regions,
                  name, ": grad does not fit the features");
}

inline void check_normalize(int64_t normalize, const char* name) {
  STD_TORCH_CHECK(normalize >= 0 && normalize <= 2, name, ": normalize must be 0, 1 or 2, got ", normalize);
}

// The pixel weights, contiguous, or none.
inline std::optional<Tensor> checked_weight(const Tensor& x, const std::optional<Tensor>& weight, const char* name) {
  check_features(x, name);
  if (!weight) return std::nullopt;
  STD_TORCH_CHECK(same_device(*weight, x) && weight->scalar_type() == accumulation_type(x), name,
                  ": weight must be on the device of the features in the accumulation type");
  STD_TORCH_CHECK(
      weight->dim() == 3 && weight->size(2) == x.size(2) && (weight->size(0) == 1 || weight->size(0) == x.size(0)),
      name, ": weight does not fit the features");
  return torch::stable::contiguous(*weight);
}

}  // namespace cnnfast::gram
