// What all families use of tensors: the headers of torch's stable ABI, and helpers for devices, accumulation types,
// data pointers and allocation.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/core/ScalarType.h>
#include <torch/headeronly/util/Exception.h>

#include <cstdint>
#include <optional>

#include "core/memory.h"

namespace cnnfast {

using torch::headeronly::MemoryFormat;
using torch::headeronly::ScalarType;
using torch::stable::Tensor;

inline ScalarType accumulation_type(const Tensor& x) {
  return x.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

// Whether a tensor is on the device of x.
inline bool same_device(const Tensor& tensor, const Tensor& x) {
  return tensor.is_cpu() == x.is_cpu() && tensor.is_cuda() == x.is_cuda() &&
         tensor.get_device_index() == x.get_device_index();
}

template <typename T>
const T* data(const Tensor& tensor) {
  return static_cast<const T*>(tensor.const_data_ptr());
}
// Null without a tensor.
template <typename T>
const T* data(const std::optional<Tensor>& tensor) {
  return tensor ? data<T>(*tensor) : nullptr;
}
template <typename T>
T* mutable_data(const Tensor& tensor) {
  return static_cast<T*>(tensor.mutable_data_ptr());
}

// A new tensor in memory that prefers huge pages.
inline Tensor on_huge_pages(Tensor fresh) {
  if (fresh.numel() > 0) prefer_huge_pages(fresh.mutable_data_ptr(), fresh.numel() * int64_t(fresh.element_size()));
  return fresh;
}

// Uninitialised maps (N, channels, height, width) in channels_last memory, with the type and the N of x.
inline Tensor new_maps(const Tensor& x, int64_t channels, int64_t height, int64_t width) {
  return on_huge_pages(torch::stable::empty({x.size(0), channels, height, width}, x.scalar_type(), std::nullopt,
                                            x.device(), std::nullopt, MemoryFormat::ChannelsLast));
}

}  // namespace cnnfast
