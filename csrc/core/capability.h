// Which instruction set the kernels of this process use. Chosen once.
#pragma once

#include <string>

namespace cnnfast {

enum class Capability { base, avx2, avx512 };

// The best one that this processor has and CNNFAST_CPU_CAPABILITY allows. Throws std::runtime_error on an unknown
// value.
Capability capability();

// "avx512", "avx2" or "default"
std::string cpu_capability();

}  // namespace cnnfast
