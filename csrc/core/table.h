// The SIMD table: every operator's inner loops, built once per instruction set and chosen once at run time.
#pragma once

#include <string>

#include "convolution/convolution_kernels.h"
#include "discs/discs_kernels.h"
#include "distance/distance_kernels.h"
#include "gram/gram_kernels.h"
#include "pooling/pooling_kernels.h"

namespace cnnfast {

struct Kernels {
  ConvolutionKernels convolution;
  GramKernels<float> gram_float;
  GramKernels<double> gram_double;
  GramKernels<half_bits> gram_half;
  GramKernels<bfloat16_bits> gram_bfloat16;
  DistanceKernels distance;
  DiscKernels<float> discs_float;
  DiscKernels<double> discs_double;
  DiscKernels<half_bits> discs_half;
  DiscKernels<bfloat16_bits> discs_bfloat16;
  UnionKernels<uint8_t> union_bytes;
  UnionKernels<uint16_t> union_shorts;
  UnionKernels<uint32_t> union_ints;
  PoolingKernels<float> pooling_float;
  PoolingKernels<bfloat16_bits> pooling_bfloat16;
};

extern const Kernels kernels_base;
#if defined(__x86_64__)
extern const Kernels kernels_avx2;
extern const Kernels kernels_avx512;
#endif

// The best table that this processor runs and CNNFAST_CPU_CAPABILITY allows. Throws std::runtime_error on an unknown
// value.
const Kernels& kernels();

// "avx512", "avx2" or "default"
std::string cpu_capability();

}  // namespace cnnfast
