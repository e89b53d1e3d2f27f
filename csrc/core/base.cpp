// Kernels for any processor of the architecture: SSE2 on x86-64, NEON on ARM.
#if defined(__x86_64__)
#include <xmmintrin.h>
#endif

#include <cstdint>
#include <utility>

#include "core/table.h"
#include "discs/discs_math.h"

#define CNNFAST_VECTOR_BYTES 16
#if defined(__aarch64__)
#define CNNFAST_REGISTERS 32
#else
#define CNNFAST_REGISTERS 16
#endif

namespace cnnfast {
namespace {
#include "core/table.inl"
}
const Kernels kernels_base = CNNFAST_TABLE;
}  // namespace cnnfast
