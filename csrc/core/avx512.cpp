// Kernels for x86-64 processors with AVX-512 F, VL, BW and DQ.
#if defined(__x86_64__)
#include "core/tables.h"

#define CNNFAST_TABLE kernels_avx512
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
#include "core/table.inl"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
