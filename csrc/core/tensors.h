// What the kernels of every family ask of tensors: where they are, which type they hold.
#pragma once

#include <torch/csrc/stable/tensor.h>

namespace cnnfast {

inline torch::headeronly::ScalarType accumulation_type(const torch::stable::Tensor& x) {
  using torch::headeronly::ScalarType;
  return x.scalar_type() == ScalarType::Double ? ScalarType::Double : ScalarType::Float;
}

// A dense tensor whose memory is where that of x is.
inline bool beside(const torch::stable::Tensor& tensor, const torch::stable::Tensor& x) {
  return tensor.is_cpu() == x.is_cpu() && tensor.is_cuda() == x.is_cuda() &&
         tensor.get_device_index() == x.get_device_index();
}

}  // namespace cnnfast
