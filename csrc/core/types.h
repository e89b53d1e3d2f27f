// Element types as the kernels see them. The half types are bit patterns: all arithmetic happens in accumulate_t.
#pragma once

#include <cstdint>

#ifdef __CUDACC__
#define CNNFAST_HOST_DEVICE __host__ __device__
#else
#define CNNFAST_HOST_DEVICE
#endif

namespace cnnfast {

struct half_bits {
  uint16_t bits;
};
struct bfloat16_bits {
  uint16_t bits;
};

template <typename E>
struct Accumulate {
  using type = float;
};
template <>
struct Accumulate<double> {
  using type = double;
};
template <typename E>
using accumulate_t = typename Accumulate<E>::type;

// The signed integer as wide as T, for an index that goes with each value in a vector of T.
template <typename T>
struct Lane {
  using code = int32_t;
};
template <>
struct Lane<double> {
  using code = int64_t;
};

}  // namespace cnnfast
