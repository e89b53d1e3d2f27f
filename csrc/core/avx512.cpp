// Kernels for x86-64 processors with AVX-512 F, VL, BW and DQ.
#if defined(__x86_64__)
#include <immintrin.h>

#include <cstdint>
#include <utility>

#include "core/table.h"
#include "discs/discs_math.h"

#define CNNFAST_VECTOR_BYTES 64
#define CNNFAST_REGISTERS 32
#define CNNFAST_F16C

#if defined(__clang__)
#pragma clang attribute push(                                                                            \
    __attribute__((target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,f16c,prefer-vector-width=512"))), \
    apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx512f,avx512vl,avx512bw,avx512dq,avx2,fma,f16c,prefer-vector-width=512")
#endif
namespace cnnfast {
namespace {
#include "core/table.inl"
}
const Kernels kernels_avx512 = CNNFAST_TABLE;
}  // namespace cnnfast
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
