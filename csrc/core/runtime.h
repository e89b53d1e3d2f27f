// The only file that knows CUDA or, with CUDA_EMULATION, its emulation on the CPU: streams, guards, launches and shared
// memory. Kernels and host code are the same in both.
#pragma once

#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/tensor.h>
#include <torch/headeronly/util/Exception.h>

#include <cstdint>
#include <limits>

#ifdef CUDA_EMULATION

#include "cuda_emulation.h"

#define CNNFAST_CUDA_LIBRARY(m) STABLE_TORCH_LIBRARY_IMPL(cnnfast_emulated, CPU, m)

namespace cnnfast {

inline bool on_kernel_device(const torch::stable::Tensor& t) { return t.is_cpu(); }

struct DeviceGuard {
  explicit DeviceGuard(const torch::stable::Tensor&) {}
};

inline cudaStream_t current_stream(const torch::stable::Tensor&) { return nullptr; }

template <typename... P, typename... A>
void launch_unchecked(void (*kernel)(P...), dim3 grid, dim3 block, cudaStream_t, A&&... arguments) {
  emu::launch(kernel, grid, block, 0, static_cast<A&&>(arguments)...);
}

}  // namespace cnnfast

#else

#include <cuda_runtime.h>
#include <torch/csrc/inductor/aoti_torch/c/shim.h>
#include <torch/csrc/stable/accelerator.h>
#include <torch/csrc/stable/macros.h>

#define CNNFAST_CUDA_LIBRARY(m) STABLE_TORCH_LIBRARY_IMPL(cnnfast, CUDA, m)
// A static shared array: CNNFAST_SHARED(float, tile, [16][17]). Aligned for loads of 16 bytes.
#define CNNFAST_SHARED(type, name, ...) __shared__ __align__(16) type name __VA_ARGS__

namespace cnnfast {

inline bool on_kernel_device(const torch::stable::Tensor& t) { return t.is_cuda(); }

struct DeviceGuard {
  torch::stable::accelerator::DeviceGuard guard;
  explicit DeviceGuard(const torch::stable::Tensor& t) : guard(t.get_device_index()) {}
};

inline cudaStream_t current_stream(const torch::stable::Tensor& t) {
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(t.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

template <typename... P, typename... A>
void launch_unchecked(void (*kernel)(P...), dim3 grid, dim3 block, cudaStream_t stream, A&&... arguments) {
  kernel<<<grid, block, 0, stream>>>(static_cast<P>(arguments)...);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

}  // namespace cnnfast

#endif

namespace cnnfast {

// Starts `blocks` blocks along x, the only axis of the grid that may be long, and checks the start. 0 blocks are no
// launch.
template <typename... P, typename... A>
void launch(void (*kernel)(P...), int64_t blocks, dim3 block, cudaStream_t stream, A&&... arguments) {
  if (blocks == 0) return;
  STD_TORCH_CHECK(blocks <= std::numeric_limits<int32_t>::max(), "CUDA: ", blocks, " blocks are too many for a grid");
  launch_unchecked(kernel, dim3(unsigned(blocks)), block, stream, static_cast<A&&>(arguments)...);
}

}  // namespace cnnfast
