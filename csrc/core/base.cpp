// Kernels for any processor of the architecture: SSE2 on x86-64, NEON on ARM.
#include "core/tables.h"

#define CNNFAST_TABLE kernels_base
#define CNNFAST_VECTOR_BYTES 16
#if defined(__aarch64__)
#define CNNFAST_REGISTERS 32
#else
#define CNNFAST_REGISTERS 16
#endif

#include "core/table.inl"
