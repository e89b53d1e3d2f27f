// Kernels for x86-64 processors with AVX2, FMA and F16C.
#if defined(__x86_64__)
#include <immintrin.h>

#include <cstdint>
#include <utility>

#include "core/table.h"
#include "discs/discs_math.h"

#define CNNFAST_VECTOR_BYTES 32
#define CNNFAST_REGISTERS 16
#define CNNFAST_F16C

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif
namespace cnnfast {
namespace {
#include "core/table.inl"
}
const Kernels kernels_avx2 = CNNFAST_TABLE;
}  // namespace cnnfast
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
