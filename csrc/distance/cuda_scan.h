// Distance transforms of any radius on CUDA, in two kernels: columns into a scratch word a pixel, then rows.
//
// The search along a row ends where dx^2 alone exceeds the best, so that a pixel costs as many steps as its distance.
#pragma once

#include <cstdint>

#include "core/division.h"
#include "core/runtime.h"
#include "distance/cuda_finish.h"
#include "distance/cuda_planes.h"

namespace cnnfast::distance {

// What the first kernel tells the second about a pixel: steps to the nearest change in its column, whether it is
// foreground, and whether it differs from its left neighbour.
struct ScanWord {
  static constexpr int far = (1 << 30) - 1;
  uint32_t bits;

  __device__ ScanWord(uint32_t bits) : bits(bits) {}
  __device__ ScanWord(int steps, bool foreground, bool change)
      : bits(uint32_t(steps) << 2 | uint32_t(foreground) << 1 | uint32_t(change)) {}
  __device__ int steps() const { return int(bits >> 2); }
  __device__ bool foreground() const { return bits >> 1 & 1; }
  __device__ bool change() const { return bits & 1; }
};

constexpr int kScanColumns = 32, kScanSegments = 32;  // of a block; a thread has one segment of one column

// words: (P, H, W). A block has 32 columns of a plane.
template <typename E>
__global__ void __launch_bounds__(kScanColumns* kScanSegments, 1)
    scan_columns_kernel(const MaskPlanes<E> mask, const int column_blocks, uint32_t* words) {
  CNNFAST_SHARED(int, first_change, [kScanSegments][kScanColumns]);  // of a segment; far: none
  CNNFAST_SHARED(int, last_change, [kScanSegments][kScanColumns]);   // -far: none
  const int64_t plane = blockIdx.x / column_blocks;
  const int x = int(blockIdx.x % column_blocks) * kScanColumns + threadIdx.x, segment = threadIdx.y;
  const int length = int(divide_up(mask.height, kScanSegments));
  const int begin = segment * length, end = begin + length < mask.height ? begin + length : mask.height;
  const auto differ = [&](int y, E above, E value) {
    return mask.differ(above, mask.inside(y - 1, x), value, mask.inside(y, x));
  };

  int first = ScanWord::far, last = -ScanWord::far;
  E above = mask.value(plane, begin - 1, x);
  for (int y = begin; y < end; ++y) {
    const E value = mask.value(plane, y, x);
    if (differ(y, above, value)) {
      first = first == ScanWord::far ? y : first;
      last = y;
    }
    above = value;
  }
  first_change[segment][threadIdx.x] = first;
  last_change[segment][threadIdx.x] = last;
  __syncthreads();
  if (x >= mask.width) return;

  last = -ScanWord::far;
  for (int s = 0; s < segment; ++s) last = last_change[s][threadIdx.x] > last ? last_change[s][threadIdx.x] : last;
  const E lowest = mask.value(plane, mask.height - 1, x);
  first = differ(mask.height, lowest, 0) ? mask.height : ScanWord::far;
  for (int s = kScanSegments - 1; s > segment; --s)
    first = first_change[s][threadIdx.x] < first ? first_change[s][threadIdx.x] : first;

  uint32_t* word = words + plane * mask.height * mask.width + x;
  above = mask.value(plane, begin - 1, x);
  for (int y = begin; y < end; ++y) {
    const E value = mask.value(plane, y, x), left = mask.value(plane, y, x - 1);
    if (differ(y, above, value)) last = y;
    const int steps = last < 0 ? ScanWord::far : y - last + 1;
    const bool change = mask.differ(left, x > 0, value, true);
    word[int64_t(y) * mask.width] = ScanWord(steps, value != 0, change).bits;
    above = value;
  }
  for (int y = end - 1; y >= begin; --y) {
    const ScanWord found = word[int64_t(y) * mask.width];
    if (first < ScanWord::far && first - y < found.steps())
      word[int64_t(y) * mask.width] = ScanWord(first - y, found.foreground(), found.change()).bits;
    if (found.steps() == 1) first = y;
  }
}

constexpr int kScanThreads = 256;

template <typename Squares>
struct ScanRowsArguments {
  const uint32_t* words;
  int height, width;
  bool border;
  int row_blocks;  // blocks along a row
  Squares squares;
  DistanceFinish finish;
};

template <typename Squares>
__global__ void __launch_bounds__(kScanThreads) scan_rows_kernel(const ScanRowsArguments<Squares> a) {
  using Square = typename Squares::Square;
  const int64_t row = blockIdx.x / a.row_blocks, plane = row / a.height;
  const int x = int(blockIdx.x % a.row_blocks) * kScanThreads + threadIdx.x;
  if (x >= a.width) return;
  const uint32_t* words = a.words + row * a.width + x;
  const ScanWord own = words[0];
  Square best = a.squares.limit;
  const auto lower = [&](Square candidate) { best = candidate < best ? candidate : best; };
  const auto lower_by = [&](int steps, Square horizontal) {
    if (steps < ScanWord::far) lower(Squares::sum(a.squares.vertical(steps), horizontal));
  };
  lower_by(own.steps(), Square(0));
  const int to_left = x, to_right = a.width - 1 - x;
  if (a.border && own.foreground()) lower(a.squares.horizontal((to_left < to_right ? to_left : to_right) + 1));
  const int farthest = to_left > to_right ? to_left : to_right;
  bool change_at_left = own.change();
  for (int dx = 1; dx <= farthest; ++dx) {
    const Square horizontal = a.squares.horizontal(dx);
    if (!(horizontal < best)) break;
    if (dx <= to_right) {
      const ScanWord word = words[dx];
      word.change() ? lower(horizontal) : lower_by(word.steps(), horizontal);
    }
    if (dx <= to_left) {
      const ScanWord word = words[-dx];
      change_at_left ? lower(horizontal) : lower_by(word.steps(), horizontal);
      change_at_left = word.change();
    }
  }
  a.finish(plane, (row - plane * a.height) * a.width + x, own.foreground(), best);
}

}  // namespace cnnfast::distance
