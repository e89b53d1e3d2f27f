// What the SIMD tables of all families have in common. A family's table is its `struct Kernels` of function pointers to
// inner loops: <family>_simd.inl fills it once per instruction set, and kernels() chooses one of them at run time.
#pragma once

#include <type_traits>

#include "core/capability.h"
#include "core/types.h"

namespace cnnfast {

// A set of kernels for every element type.
template <template <typename E> class Kernels>
struct PerElement {
  Kernels<float> float32;
  Kernels<double> float64;
  Kernels<half_bits> float16;
  Kernels<bfloat16_bits> bfloat16;

  template <typename E>
  const Kernels<E>& of() const {
    if constexpr (std::is_same_v<E, float>) {
      return float32;
    } else if constexpr (std::is_same_v<E, double>) {
      return float64;
    } else if constexpr (std::is_same_v<E, half_bits>) {
      return float16;
    } else {
      static_assert(std::is_same_v<E, bfloat16_bits>);
      return bfloat16;
    }
  }
};

template <typename Kernels>
const Kernels& choose(const Kernels& base, const Kernels& avx2, const Kernels& avx512) {
  const Capability chosen = capability();
  return chosen == Capability::avx512 ? avx512 : chosen == Capability::avx2 ? avx2 : base;
}

}  // namespace cnnfast

// Declares the tables of a family, and kernels(), the one to use. Stands in the family's namespace behind its Kernels.
#if defined(__x86_64__)
#define CNNFAST_DECLARE_TABLES()                                   \
  extern const Kernels kernels_base, kernels_avx2, kernels_avx512; \
  inline const Kernels& kernels() { return choose(kernels_base, kernels_avx2, kernels_avx512); }
#else
#define CNNFAST_DECLARE_TABLES()     \
  extern const Kernels kernels_base; \
  inline const Kernels& kernels() { return kernels_base; }
#endif
