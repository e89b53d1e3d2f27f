// The tables of all families for one instruction set. The including file defines CNNFAST_TABLE (kernels_base,
// kernels_avx2 or kernels_avx512), CNNFAST_VECTOR_BYTES, CNNFAST_REGISTERS and, where the processor converts float16,
// CNNFAST_F16C, and has included core/tables.h before it switched the target.
#include "core/vector.inl"

#define CNNFAST_FAMILY_FILE(family) family##_simd.inl
#include "families.h"
