#include "core/capability.h"

#include <algorithm>
#include <cstdlib>
#include <stdexcept>

namespace cnnfast {
namespace {

Capability highest_supported() {
#if defined(__x86_64__)
  __builtin_cpu_init();
  const bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && __builtin_cpu_supports("f16c");
  const bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512vl") &&
                      __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512dq");
  return avx512 ? Capability::avx512 : avx2 ? Capability::avx2 : Capability::base;
#else
  return Capability::base;
#endif
}

Capability highest_allowed() {
  const char* value = std::getenv("CNNFAST_CPU_CAPABILITY");
  const std::string wanted = value ? value : "";
  if (wanted.empty() || wanted == "avx512") return Capability::avx512;
  if (wanted == "avx2") return Capability::avx2;
  if (wanted == "default") return Capability::base;
  throw std::runtime_error("CNNFAST_CPU_CAPABILITY must be default, avx2 or avx512, got '" + wanted + "'");
}

}  // namespace

Capability capability() {
  static const Capability chosen = std::min(highest_supported(), highest_allowed());
  return chosen;
}

std::string cpu_capability() {
  const Capability chosen = capability();
  return chosen == Capability::avx512 ? "avx512" : chosen == Capability::avx2 ? "avx2" : "default";
}

}  // namespace cnnfast
