// The only file that knows CUDA or, with CUDA_EMULATION, its emulation on the CPU: streams, guards, launches, shared
// memory, asynchronous copies and tensor cores. Kernels and host code are the same in both.
#pragma once

#include <torch/headeronly/util/BFloat16.h>
#include <torch/headeronly/util/Half.h>

#include <cstdint>
#include <limits>

#include "core/tensors.h"

#ifdef CUDA_EMULATION

#include "cuda_emulation.h"

#define CNNFAST_CUDA_LIBRARY(m) STABLE_TORCH_LIBRARY_IMPL(cnnfast_emulated, CPU, m)

namespace cnnfast {

inline bool on_kernel_device(const Tensor& t) { return t.is_cpu(); }

struct DeviceGuard {
  explicit DeviceGuard(const Tensor&) {}
};

inline cudaStream_t current_stream(const Tensor&) { return nullptr; }

template <typename... P, typename... A>
void launch_unchecked(void (*kernel)(P...), dim3 grid, dim3 block, cudaStream_t, A&&... arguments) {
  emu::launch(kernel, grid, block, 0, static_cast<A&&>(arguments)...);
}

template <typename... P>
int compiled_for(void (*)(P...)) {
  return emu::architecture;
}

inline void copy_async(void* to, const void* from, int bytes) { emu::copy_async(to, from, bytes); }
inline void commit_copies() { emu::commit_copies(); }
inline void wait_for_copies() { emu::wait_for_copies(0); }
inline void load_matrices(const void* row, uint32_t (&words)[4]) { emu::load_matrices<false>(row, words); }
inline void load_transposed_matrices(const void* row, uint32_t (&words)[4]) { emu::load_matrices<true>(row, words); }
inline uint32_t tf32_bits(float value) { return emu::tf32_bits(value); }
template <typename E>
void multiply_matrices(E, const uint32_t (&a)[4], uint32_t b0, uint32_t b1, float (&sums)[4]) {
  emu::multiply_matrices<E>(a, b0, b1, sums);
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

inline bool on_kernel_device(const Tensor& t) { return t.is_cuda(); }

struct DeviceGuard {
  torch::stable::accelerator::DeviceGuard guard;
  explicit DeviceGuard(const Tensor& t) : guard(t.get_device_index()) {}
};

inline cudaStream_t current_stream(const Tensor& t) {
  void* stream = nullptr;
  TORCH_ERROR_CODE_CHECK(aoti_torch_get_current_cuda_stream(t.get_device_index(), &stream));
  return static_cast<cudaStream_t>(stream);
}

template <typename... P, typename... A>
void launch_unchecked(void (*kernel)(P...), dim3 grid, dim3 block, cudaStream_t stream, A&&... arguments) {
  kernel<<<grid, block, 0, stream>>>(static_cast<P>(arguments)...);
  STD_CUDA_KERNEL_LAUNCH_CHECK();
}

// The compute capability, 80 for 8.0, of the code that this GPU runs for a kernel. It may be below the GPU's own.
template <typename... P>
int compiled_for(void (*kernel)(P...)) {
  cudaFuncAttributes attributes;
  STD_CUDA_CHECK(cudaFuncGetAttributes(&attributes, kernel));
  return attributes.ptxVersion;
}

// Instructions of compute capability 8.0. A kernel that uses them compiles for older GPUs too, but is not launched
// there.
#if defined(__CUDA_ARCH__) && __CUDA_ARCH__ < 800
#define CNNFAST_ASM_80(...) __trap()
#else
#define CNNFAST_ASM_80(...) asm volatile(__VA_ARGS__)
#endif

__device__ inline uint32_t shared_address(const void* p) { return uint32_t(__cvta_generic_to_shared(p)); }

// Starts to fill 16 bytes of shared memory with `bytes` bytes of global memory and zeros; both addresses are multiples
// of 16. What a thread has committed is visible to itself after wait_for_copies, to others after a barrier too.
__device__ inline void copy_async(void* to, const void* from, int bytes) {
  CNNFAST_ASM_80("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from),
                 "r"(bytes) : "memory");
}
__device__ inline void commit_copies() { CNNFAST_ASM_80("cp.async.commit_group;" :: : "memory"); }
__device__ inline void wait_for_copies() { CNNFAST_ASM_80("cp.async.wait_group 0;" :: : "memory"); }

// Four matrices of 8 rows of 16 bytes, for a whole warp: lane 8 i + r gives the address of row r of matrix i. Lane l
// receives word l % 4 of row l / 4 of matrix i in words[i]; transposed, as two elements of 16 bits, rows 2 (l % 4) and
// the next of column l / 4.
__device__ inline void load_matrices(const void* row, uint32_t (&words)[4]) {
  CNNFAST_ASM_80("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(words[0]), "=r"(words[1]),
                 "=r"(words[2]), "=r"(words[3]) : "r"(shared_address(row)) : "memory");
}
__device__ inline void load_transposed_matrices(const void* row, uint32_t (&words)[4]) {
  CNNFAST_ASM_80("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];" : "=r"(words[0]),
                 "=r"(words[1]), "=r"(words[2]), "=r"(words[3]) : "r"(shared_address(row)) : "memory");
}

// The nearest TF32 number: float32 with a mantissa of 10 bits.
__device__ inline uint32_t tf32_bits(float value) {
  uint32_t bits = 0;
  CNNFAST_ASM_80("cvt.rna.tf32.f32 %0, %1;" : "=r"(bits) : "f"(value));
  return bits;
}

// sums += A B for a whole warp: A of 16 rows, B of 8 columns, both 32 bytes deep: 16 halves, or 8 float32 in the form
// of TF32. With g = lane / 4, t = lane % 4 and words of 4 bytes along the depth, a lane holds
//   of A: (row g, word t), (g + 8, t), (g, t + 4), (g + 8, t + 4);   of B: (column g, word t), (g, t + 4);
//   of the sums: (row g, column 2 t), (g, 2 t + 1), (g + 8, 2 t), (g + 8, 2 t + 1).
// PTX ISA 9.0, matrix fragments for mma.m16n8k16 with floating point type, and for mma.m16n8k8 with .tf32.
#define CNNFAST_MULTIPLY_MATRICES(E, instruction)                                                                     \
  __device__ inline void multiply_matrices(E, const uint32_t (&a)[4], uint32_t b0, uint32_t b1, float (&sums)[4]) {   \
    CNNFAST_ASM_80("mma.sync.aligned." instruction                                                                    \
                   " {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};" : "+f"(sums[0]),                \
                   "+f"(sums[1]), "+f"(sums[2]), "+f"(sums[3]) : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), \
                   "r"(b1));                                                                                          \
  }
CNNFAST_MULTIPLY_MATRICES(c10::Half, "m16n8k16.row.col.f32.f16.f16.f32")
CNNFAST_MULTIPLY_MATRICES(c10::BFloat16, "m16n8k16.row.col.f32.bf16.bf16.f32")
CNNFAST_MULTIPLY_MATRICES(float, "m16n8k8.row.col.f32.tf32.tf32.f32")

}  // namespace cnnfast

#endif

namespace cnnfast {

// Launches `blocks` blocks along x, the only axis of the grid that may exceed 65,535, and checks for errors. Launches
// nothing for 0 blocks.
template <typename... P, typename... A>
void launch(void (*kernel)(P...), int64_t blocks, dim3 block, cudaStream_t stream, A&&... arguments) {
  if (blocks == 0) return;
  STD_TORCH_CHECK(blocks <= std::numeric_limits<int32_t>::max(), "CUDA: ", blocks, " blocks are too many for a grid");
  launch_unchecked(kernel, dim3(unsigned(blocks)), block, stream, static_cast<A&&>(arguments)...);
}

}  // namespace cnnfast
