// Chooses the SIMD table once per process.
#include <algorithm>
#include <cstdlib>
#include <stdexcept>

#include "core/table.h"

namespace cnnfast {
namespace {

struct Choice {
  const Kernels* table;
  const char* name;
};

int highest_supported() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
  return avx512 ? 2 : avx2 ? 1 : 0;
#else
  return 0;
#endif
}

int highest_allowed() {
  const char* value = std::getenv("CNNFAST_CPU_CAPABILITY");
  const std::string wanted = value ? value : "";
  if (wanted.empty() || wanted == "avx512") return 2;
  if (wanted == "avx2") return 1;
  if (wanted == "default") return 0;
  throw std::runtime_error("CNNFAST_CPU_CAPABILITY must be default, avx2 or avx512, got '" + wanted + "'");
}

Choice choose() {
  const int level = std::min(highest_supported(), highest_allowed());
#if defined(__x86_64__)
  if (level == 2) return {&kernels_avx512, "avx512"};
  if (level == 1) return {&kernels_avx2, "avx2"};
#endif
  static_cast<void>(level);
  return {&kernels_base, "default"};
}

const Choice& choice() {
  static const Choice chosen = choose();
  return chosen;
}

}  // namespace

const Kernels& kernels() { return *choice().table; }

std::string cpu_capability() { return choice().name; }

}  // namespace cnnfast
