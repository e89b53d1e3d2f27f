// The distance transforms' inner loops: function pointers, filled once per instruction set.
//
// A lane row holds columns of one plane, or of several with gaps between them, as whole blocks of kLaneBlock elements;
// the block before its first and the one after its last may be read. n is a multiple of kLaneBlock, except for
// `differences`.
#pragma once

#include <cstdint>

#include "core/table.h"

namespace cnnfast::distance {

constexpr int64_t kLaneBlock = 64;
// Smallest radius that is too large for squares in uint8 with sums up to it.
constexpr int64_t kByteRadius = 16;

// Squares of distances in T. The square of the radius stands for every distance that is not smaller.
template <typename T>
struct SquareKernels {
  // out = row * row
  void (*square)(const uint8_t* row, int64_t n, T* out);

  // best = min(start, min over |dy| <= reach of centre[dy * pitch] + dy * dy)
  void (*nearest)(const T* centre, int64_t pitch, const T* start, int64_t n, int64_t reach, T* best);

  // out = how many of the thresholds are below
  void (*count)(const T* row, const T* thresholds, int64_t threshold_count, int64_t n, uint8_t* out);
};

struct Kernels {
  // By the logarithm of an element's bytes. out = (raw != 0) != inverted ? value : 0
  void (*foreground[4])(const void* raw, bool inverted, uint8_t value, int64_t n, uint8_t* out);
  // out = a != b ? 255 : 0
  void (*differences[4])(const void* a, const void* b, int64_t n, uint8_t* out);

  // out = 1 beside an edge, else `farthest`; edges[x] is that between x and x + 1
  void (*beside_edges)(const uint8_t* edges, uint8_t farthest, int64_t n, uint8_t* out);

  // min over |dx| <= reach < kLaneBlock of row[dx] + |dx|; the result is in one of the spare rows
  const uint8_t* (*spread)(const uint8_t* row, int64_t n, int64_t reach, uint8_t* spare, uint8_t* other);

  // One step of a distance along a column: out = foreground ? (edge ? 1 : min(previous + 1, farthest)) : 0, and from
  // the other end out = min(out, edge ? 1 : previous + 1)
  void (*follow)(const uint8_t* foreground, const uint8_t* edges, const uint8_t* previous, uint8_t farthest, int64_t n,
                 uint8_t* out);
  void (*follow_back)(const uint8_t* edges, const uint8_t* previous, int64_t n, uint8_t* out);
  // The same with background as one more value: its distances are negative.
  void (*follow_signed)(const uint8_t* foreground, const uint8_t* edges, const int32_t* previous, int32_t farthest,
                        int64_t n, int32_t* out);
  void (*follow_signed_back)(const uint8_t* edges, const int32_t* previous, int64_t n, int32_t* out);

  SquareKernels<uint8_t> bytes;
  SquareKernels<uint16_t> words;
};
CNNFAST_DECLARE_TABLES()

}  // namespace cnnfast::distance
