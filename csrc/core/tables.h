// Every family's table.h, and the other headers that the <family>_simd.inl rely on, which include nothing themselves.
#pragma once

#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <cstdint>
#include <utility>

#define CNNFAST_FAMILY_FILE(family) table.h
#include "families.h"
