// Body of one instruction set's table. The including file defines CNNFAST_VECTOR_BYTES, CNNFAST_REGISTERS and, where
// the processor converts float16, CNNFAST_F16C, and has included every header before it switched the target.
#include "core/vector.inl"
#include "distance/distance_simd.inl"
#include "gram/gram_simd.inl"

#define CNNFAST_TABLE                                                                                       \
  {gram_kernels<float>(), gram_kernels<double>(), gram_kernels<half_bits>(), gram_kernels<bfloat16_bits>(), \
   distance_kernels()}
