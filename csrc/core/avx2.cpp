// Kernels for x86-64 processors with AVX2, FMA and F16C.
#if defined(__x86_64__)
#include "core/tables.h"

#define CNNFAST_TABLE kernels_avx2
#define CNNFAST_VECTOR_BYTES 32
#define CNNFAST_REGISTERS 16
#define CNNFAST_F16C

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2,fma,f16c"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c")
#endif
#include "core/table.inl"
#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
#endif
