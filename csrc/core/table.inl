// Body of one instruction set's table. The including file defines CNNFAST_VECTOR_BYTES, CNNFAST_REGISTERS and, where
// the processor converts float16, CNNFAST_F16C, and has included every header before it switched the target.
// clang-format off: the others use its vectors
#include "core/vector.inl"
// clang-format on
#include "convolution/convolution_simd.inl"
#include "discs/discs_table.inl"
#include "distance/distance_simd.inl"
#include "gram/gram_simd.inl"
#include "pooling/pooling_simd.inl"

#define CNNFAST_TABLE                                                                       \
  {convolution_kernels(),         gram_kernels<float>(),         gram_kernels<double>(),    \
   gram_kernels<half_bits>(),     gram_kernels<bfloat16_bits>(), distance_kernels(),        \
   disc_kernels<float>(),         disc_kernels<double>(),        disc_kernels<half_bits>(), \
   disc_kernels<bfloat16_bits>(), union_kernels<uint8_t>(),      union_kernels<uint16_t>(), \
   union_kernels<uint32_t>(),     pooling_kernels<float>(),      pooling_kernels<bfloat16_bits>()}
