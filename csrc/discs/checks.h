// Checks that protect memory: what the disc kernels of all devices require of their arguments.
#pragma once

#include <cstdint>
#include <optional>
#include <vector>

#include "core/tensors.h"

namespace cnnfast::discs {

constexpr int64_t kLargestRadius = 32767;

inline void check_radii(const std::vector<int64_t>& radii, int64_t pad, const char* name) {
  STD_TORCH_CHECK(!radii.empty(), name, ": there must be a radius");
  for (const int64_t radius : radii)
    STD_TORCH_CHECK(radius >= 0 && radius <= kLargestRadius, name, ": radii must be 0 to 32767, got ", radius);
  STD_TORCH_CHECK(pad >= 0 && pad <= int64_t(1) << 31, name, ": pad must be 0 to 2^31, got ", pad);
}

inline void check_bins(const Tensor& bins, const std::vector<int64_t>& radii, int64_t pad, const char* name) {
  check_radii(radii, pad, name);
  STD_TORCH_CHECK(bins.dim() == 4 && bins.size(1) == int64_t(radii.size()), name,
                  ": bins must have 4 dimensions, the second as long as radii");
}

inline void check_labels(const Tensor& labels, const std::vector<int64_t>& radii, int64_t pad) {
  check_radii(radii, pad, "disc_union");
  STD_TORCH_CHECK(labels.dim() == 3 && labels.scalar_type() == ScalarType::Byte && radii.size() < 256,
                  "disc_union: labels must have 3 dimensions and type uint8, radii at most 255 values");
}

// The weight of every bin, contiguous, or none.
inline std::optional<Tensor> checked_disc_weight(const Tensor& bins, const std::optional<Tensor>& weight, bool noisy_or,
                                                 const char* name) {
  if (!weight) return std::nullopt;
  STD_TORCH_CHECK(!noisy_or, name, ": noisy_or must have no weight");
  STD_TORCH_CHECK(same_device(*weight, bins) && weight->scalar_type() == accumulation_type(bins) &&
                      weight->dim() == 1 && weight->size(0) == bins.size(1),
                  name, ": weight must hold a value a bin, on the device of the bins in the accumulation type");
  return torch::stable::contiguous(*weight);
}

inline void check_disc_gradient(const Tensor& grad, const Tensor& bins, int64_t pad, const char* name) {
  STD_TORCH_CHECK(same_device(grad, bins) && grad.scalar_type() == accumulation_type(bins), name,
                  ": grad must be on the device of the bins in the accumulation type");
  STD_TORCH_CHECK(grad.dim() == 4 && grad.size(0) == bins.size(0) && grad.size(1) == 1 &&
                      grad.size(2) == bins.size(2) + 2 * pad && grad.size(3) == bins.size(3) + 2 * pad,
                  name, ": grad does not fit the bins");
}

}  // namespace cnnfast::discs
