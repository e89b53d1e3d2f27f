// Channel mixing on tensor cores: output_n = A_n x_n, as apply_kernel without weights and means. Halves are exact in
// TF32 and are multiplied by A as a sum of two TF32 numbers: A may be far below the smallest float16, and rounding it
// to bfloat16 would add as much error as the rounding of the result.
#pragma once

#include <cstdint>
#include <type_traits>

#include "gram/cuda_apply.h"
#include "gram/cuda_mma.h"

namespace cnnfast::gram {

// Panels are kDepth deep; rows are channels of x, but pixels in the features if `last`. Strides keep the rows that an
// access touches in different banks.
using FactorPanel = CopiedPanel<float, kDepth, kTile, kTile + 8>;
template <typename E, bool last>
using FeaturePanel = std::conditional_t<last, CopiedPanel<E, kTile, kDepth, kDepth + 16 / int(sizeof(E))>,
                                        CopiedPanel<E, kDepth, kTile, kTile + 32 / int(sizeof(E))>>;

// Splits a number into one TF32 number, or into two whose sum it is.
template <typename T, int parts>
__device__ inline void split(T value, uint32_t (&out)[parts]) {
  out[0] = sizeof(T) == 2 ? __float_as_uint(float(value)) : tf32_bits(float(value));
  const float rest = float(value) - __uint_as_float(out[0]);
  for (int part = 1; part < parts; ++part) out[part] = rest - rest == 0 ? tf32_bits(rest) : 0;  // infinity: no rest
}

// Two neighbours as one access.
template <typename T>
struct alignas(2 * sizeof(T)) Two {
  T value[2];
};

// terms[j]: the lane's results. Column n of instruction j is column 2 n + j % 2 of the results of a pair of
// instructions: a lane's results are four neighbours, and one access loads an element for both instructions.
template <typename E, bool last>
__device__ inline void mma_apply_panels(const E* features, const float* factors, MmaPlace at, Micro<float>& terms) {
  using Left = std::conditional_t<last, E, float>;
  using Right = std::conditional_t<last, float, E>;
  constexpr int feature_stride = FeaturePanel<E, last>::stride, factor_stride = FactorPanel::stride;
  constexpr int factor_parts = sizeof(E) == 4 ? 1 : 2;
  constexpr int left_parts = last ? 1 : factor_parts, right_parts = last ? factor_parts : 1;
  const Left* left;
  const Right* right;
  if constexpr (last) {
    left = features, right = factors;
  } else {
    left = factors, right = features;
  }
#pragma unroll
  for (int k = 0; k < kDepth; k += kStep<float>) {
    uint32_t rows[left_parts][4], columns[right_parts][kMicro][2];
    for (int i = 0; i < 4; ++i) {
      const int row = at.row + at.group + i % 2 * 8, depth = k + at.word + i / 2 * 4;
      uint32_t parts[left_parts];
      split(left[last ? row * feature_stride + depth : depth * factor_stride + row], parts);
      for (int part = 0; part < left_parts; ++part) rows[part][i] = parts[part];
    }
    for (int pair = 0; pair < 2; ++pair)
      for (int i = 0; i < 2; ++i) {
        const int depth = k + at.word + i * 4, column = at.column + pair * 16 + 2 * at.group;
        const Two<Right> two =
            *reinterpret_cast<const Two<Right>*>(right + depth * (last ? factor_stride : feature_stride) + column);
        for (int j = 0; j < 2; ++j) {
          uint32_t parts[right_parts];
          split(two.value[j], parts);
          for (int part = 0; part < right_parts; ++part) columns[part][2 * pair + j][i] = parts[part];
        }
      }
    for (int j = 0; j < kMicro; ++j)
      for (int part = 0; part < factor_parts; ++part)
        multiply_matrices(float{}, rows[last ? 0 : part], columns[last ? part : 0][j][0],
                          columns[last ? part : 0][j][1], terms[j]);
  }
}

template <typename E, bool last>
__global__ void __launch_bounds__(kThreads, 2) mma_apply_kernel(const ApplyArguments<E> a) {
  using Panel = FeaturePanel<E, last>;
  CNNFAST_SHARED(E, features, [2][Panel::elements]);
  CNNFAST_SHARED(float, factors, [2][FactorPanel::elements]);
  const ApplyBlock block(a);
  const auto fetch = [&](int64_t j, int stage) {
    const int depth = part_of(j, a.x.channels, kDepth);
    Panel::copy(a.x.at(block.n, j, block.pixel), last ? a.x.pixel_stride : a.x.channel_stride,
                last ? block.pixels : depth, last ? depth : block.pixels, features[stage]);
    FactorPanel::copy(a.mixing + (block.n * a.x.channels + j) * a.channels + block.channel, a.channels, depth,
                      block.channels, factors[stage]);
    commit_copies();
  };
  const MmaPlace at = mma_place();
  const bool needed = at.exists(last ? block.pixels : block.channels, last ? block.channels : block.pixels);
  Micro<float> sums = {};
  if (a.x.channels > 0) fetch(0, 0);
  int stage = 0;
  for (int64_t j = 0; j < a.x.channels; j += kDepth, stage ^= 1) {
    wait_for_copies();
    __syncthreads();  // this stage is complete, and nobody reads the other one any more
    if (j + kDepth < a.x.channels) fetch(j + kDepth, stage ^ 1);
    if (!needed) continue;
    Micro<float> terms = {};  // short sums, as in mma_panels
    mma_apply_panels<E, last>(features[stage], factors[stage], at, terms);
    for (int t = 0; t < kMicro; ++t)
      for (int i = 0; i < kMicro; ++i) sums[t][i] += terms[t][i];
  }

  for (int pair = 0; pair < 2; ++pair)
    for (int half = 0; half < 2; ++half) {
      const Micro<float>& s = sums;
      const float four[kMicro] = {s[2 * pair][2 * half], s[2 * pair + 1][2 * half], s[2 * pair][2 * half + 1],
                                  s[2 * pair + 1][2 * half + 1]};
      block.write(a, at.row + at.group + 8 * half, at.column + 16 * pair + 4 * at.word, four);
    }
}

}  // namespace cnnfast::gram
