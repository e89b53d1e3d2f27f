// The inner loops of discs: one set of function pointers per element type, filled once per instruction set.
//
// A packed row holds one row of one bin of several images side by side, each padded to whole vectors.
#pragma once

#include <cstdint>

#include "core/cache_line.h"
#include "core/table.h"
#include "core/types.h"
#include "discs/discs_math.h"

namespace cnnfast::discs {

// Output rows that are summed together: they read the same packed rows from the first-level cache.
constexpr int64_t kRowsAtOnce = 4;

// Sums of packed rows for kRowsAtOnce output rows side by side. Sum s of output row t adds rows[i * kRowsAtOnce + t]
// for i in [ends[s - 1], ends[s]), after those of the sums before it if it is running.
template <typename T>
struct RowSums {
  const T* const* rows;
  const int64_t* ends;
  int64_t sums;
  T* output;      // vector v of sum s of row t goes to output + s * pitch + t * row_pitch + places[v]
  int64_t pitch;  // may be negative
  int64_t row_pitch;
};

struct MemoryRun {
  const char *begin, *end;
};

// Memory to prefetch meanwhile: runs from `run` to `last`, `lines` cache lines in all.
struct Ahead {
  const MemoryRun *run, *last;
  const char* line;  // the next one in `run`, null: its first
  int64_t lines;
};

// The largest values of packed rows, and the number of the row that each was found in, -1 for none.
template <typename T>
struct RowMaxima {
  using Code = typename Lane<T>::code;

  const T* const* rows;
  const Code* codes;
  const int64_t* ends;
  int64_t sums;
  T* output;
  Code* found;
  int64_t pitch;
};

template <typename E>
struct ElementKernels {
  using T = accumulate_t<E>;
  using Code = typename Lane<T>::code;

  int64_t lanes;

  // row[x] = factor * source[x * stride], or -log(1 - source[x * stride]); `filler` from count to padded
  void (*pack)(const E* source, int64_t stride, int64_t count, int64_t padded, T factor, bool noisy_or, T filler,
               T* row);

  void (*sum_rows)(const RowSums<T>& job, bool running, int64_t vectors, const int64_t* places, Ahead ahead);
  void (*max_rows)(const RowMaxima<T>& job, int64_t vectors, const int64_t* places);

  // output[x] = v_0[x] + sum over d = 1..radius of v_d[x - d] + v_d[x + d], v_d = rows + d * pitch
  void (*widen)(const T* rows, int64_t pitch, int64_t radius, int64_t count, T* output);
  // The largest of the same values, its code, and the step from x to where it stands
  void (*widen_max)(const T* rows, const Code* codes, int64_t pitch, int64_t radius, int64_t count, T* output,
                    Code* found, Code* steps);

  // outputs[h][x] = sum of row[x - h..x + h] for h = 0..radius and x < padded
  void (*runs)(const T* row, int64_t radius, int64_t padded, T* const* outputs);

  // grad[x] = factor * sums[x], with noisy_or divided by 1 - bins[x * stride]; unless grad is null.
  // Returns the sum of bins[x * stride] * sums[x]; 0 unless weighs
  double (*finish)(const T* sums, const E* bins, int64_t stride, int64_t count, T factor, bool noisy_or, bool weighs,
                   E* grad, bool large);
};

// Lanes of unsigned integers that hold squared radii.
template <typename L>
struct UnionKernels {
  // row[x] = table[labels[x * stride]] for x < count
  void (*pack)(const uint8_t* labels, int64_t stride, int64_t count, const L* table, int64_t kinds, L* row);
  // output[x] = the largest of rows[i][x] - drops[i], not below 0, for x < padded, a multiple of 64
  void (*reach)(const L* const* rows, const L* drops, int64_t count, int64_t padded, L* output);
  // output[x] = any of reach[x - d], reach[x + d] > d^2, d = 0..radius. The output may be written up to whole vectors
  void (*paint)(const L* reach, int64_t radius, int64_t count, uint8_t* output);
};

struct Kernels : PerElement<ElementKernels> {
  UnionKernels<uint8_t> union_bytes;
  UnionKernels<uint16_t> union_shorts;
  UnionKernels<uint32_t> union_ints;
};
CNNFAST_DECLARE_TABLES()

}  // namespace cnnfast::discs
