// Operators that execute one instruction of runtime.h each, for a warp, so that tests can compare it with the PTX
// manual.
#include <torch/csrc/stable/library.h>
#include <torch/csrc/stable/ops.h>
#include <torch/csrc/stable/tensor.h>

#include <array>

#include "core/runtime.h"

namespace cnnfast {
namespace {

using torch::headeronly::ScalarType;
using torch::stable::Tensor;

template <typename T>
T* words_of(const Tensor& tensor) {
  return static_cast<T*>(const_cast<void*>(tensor.const_data_ptr()));
}

template <typename E>
__global__ void multiply_kernel(const uint32_t* a, const uint32_t* b, float* sums) {
  const int lane = threadIdx.x;
  uint32_t left[4];
  float mine[4];
  for (int i = 0; i < 4; ++i) left[i] = a[4 * lane + i], mine[i] = sums[4 * lane + i];
  multiply_matrices(E(0.0f), left, b[2 * lane], b[2 * lane + 1], mine);
  for (int i = 0; i < 4; ++i) sums[4 * lane + i] = mine[i];
}

// Registers of 32 lanes: a (32, 4) and b (32, 2) int32, sums (32, 4) float32 -> (32, 4); the elements are of `type`:
// 0 float16, 1 bfloat16, 2 TF32.
Tensor multiply(const Tensor& a, const Tensor& b, const Tensor& sums, int64_t type) {
  const auto kernel = type == 0   ? &multiply_kernel<c10::Half>
                      : type == 1 ? &multiply_kernel<c10::BFloat16>
                                  : &multiply_kernel<float>;
  Tensor out = torch::stable::clone(sums);
  launch(kernel, 1, dim3(32), nullptr, words_of<uint32_t>(a), words_of<uint32_t>(b), words_of<float>(out));
  return out;
}

constexpr int kWords = 1024;  // of shared memory

__global__ void load_kernel(const uint32_t* memory, const int* offsets, bool transposed, uint32_t* out) {
  CNNFAST_SHARED(uint32_t, words, [kWords]);
  for (int i = threadIdx.x; i < kWords; i += 32) words[i] = memory[i];
  __syncthreads();
  uint32_t loaded[4];
  const void* row = reinterpret_cast<const char*>(words) + offsets[threadIdx.x];
  if (transposed) {
    load_transposed_matrices(row, loaded);
  } else {
    load_matrices(row, loaded);
  }
  for (int i = 0; i < 4; ++i) out[4 * threadIdx.x + i] = loaded[i];
}

// memory (1024) int32 in shared memory, offsets (32) int32 in bytes -> registers (32, 4) int32
Tensor load(const Tensor& memory, const Tensor& offsets, bool transposed) {
  const std::array<int64_t, 2> shape = {32, 4};
  Tensor out = torch::stable::new_empty(memory, shape);
  launch(load_kernel, 1, dim3(32), nullptr, words_of<uint32_t>(memory), words_of<int>(offsets), transposed,
         words_of<uint32_t>(out));
  return out;
}

__global__ void copy_kernel(const char* from, int bytes, int stage, uint32_t* out) {
  CNNFAST_SHARED(uint32_t, words, [4]);
  for (int i = 0; i < 4; ++i) words[i] = 7;
  copy_async(words, from, bytes);
  if (stage > 0) commit_copies();
  if (stage > 1) wait_for_copies();
  for (int i = 0; i < 4; ++i) out[i] = words[i];
}

// What 16 bytes of shared memory hold after an asynchronous copy of `bytes` bytes. stage: 0 started, 1 committed, 2
// completed by a wait.
Tensor copy(const Tensor& memory, int64_t offset, int64_t bytes, int64_t stage) {
  const std::array<int64_t, 1> shape = {4};
  Tensor out = torch::stable::new_empty(memory, shape);
  launch(copy_kernel, 1, dim3(1), nullptr, words_of<char>(memory) + offset, int(bytes), int(stage),
         words_of<uint32_t>(out));
  return out;
}

__global__ void round_kernel(const float* values, int64_t count, uint32_t* out) {
  for (int64_t i = threadIdx.x; i < count; i += 32) out[i] = tf32_bits(values[i]);
}

// (n) float32 -> (n) float32, rounded to TF32
Tensor round(const Tensor& values) {
  Tensor out = torch::stable::empty_like(values);
  launch(round_kernel, 1, dim3(32), nullptr, words_of<float>(values), values.numel(), words_of<uint32_t>(out));
  return out;
}

}  // namespace
}  // namespace cnnfast

STABLE_TORCH_LIBRARY_FRAGMENT(cnnfast_emulated, m) {
  m.def("multiply_matrices(Tensor a, Tensor b, Tensor sums, int type) -> Tensor");
  m.def("load_matrices(Tensor memory, Tensor offsets, bool transposed) -> Tensor");
  m.def("copy_async(Tensor memory, int offset, int bytes, int stage) -> Tensor");
  m.def("round_to_tf32(Tensor values) -> Tensor");
}

CNNFAST_CUDA_LIBRARY(m) {
  m.impl("multiply_matrices", TORCH_BOX(&cnnfast::multiply));
  m.impl("load_matrices", TORCH_BOX(&cnnfast::load));
  m.impl("copy_async", TORCH_BOX(&cnnfast::copy));
  m.impl("round_to_tf32", TORCH_BOX(&cnnfast::round));
}
