// The distance transforms on CUDA: checks that protect memory, allocation, the choice of kernels, launches. Nothing
// here waits for the device, and all memory comes from torch's allocator: calls can be captured in CUDA graphs.
#include <algorithm>
#include <cmath>

#include "core/cuda_tensors.h"
#include "core/division.h"
#include "core/runtime.h"
#include "core/tensors.h"
#include "distance/checks.h"
#include "distance/cuda_finish.h"
#include "distance/cuda_planes.h"
#include "distance/cuda_scan.h"
#include "distance/cuda_squares.h"
#include "distance/cuda_tile.h"
#include "distance/distance_math.h"

namespace cnnfast::distance {
namespace {

// The options that both operators share.
struct Search {
  bool labels, border;
  double spacing_y, spacing_x;
  double reach;  // units beyond which nothing changes the result; infinity: none
};

// The smallest whole number that is surely not below steps^2: squared distances from it on change nothing.
int64_t square_limit(double steps) {
  if (!(steps < 1e9)) return kNowhere;
  const bool exact = steps == std::floor(steps);
  return exact ? int64_t(steps) * int64_t(steps) : int64_t(std::ceil(steps * steps)) + 1;
}

// How many steps, at most kHalo, change a result: their square times `weight` is below the limit.
int steps_in_sight(double limit, double weight) {
  int steps = 0;
  while (steps < kHalo && (steps + 1) * (steps + 1) * weight < limit) ++steps;
  return steps;
}

template <typename E, typename Squares>
void tile_transform(const MaskPlanes<E>& mask, int64_t planes, const Squares& squares, int sight,
                    const DistanceFinish& finish, cudaStream_t stream) {
  const int row_tiles = int(divide_up(mask.height, kSide)), column_tiles = int(divide_up(mask.width, kSide));
  launch(tile_transform_kernel<E, Squares>, planes * row_tiles * column_tiles, dim3(kTileThreads), stream,
         TileArguments<E, Squares>{mask, squares, sight, row_tiles, column_tiles, finish});
}

template <typename E, typename Squares>
void scan_transform(const Tensor& memory, const MaskPlanes<E>& mask, int64_t planes, const Squares& squares,
                    const DistanceFinish& finish, cudaStream_t stream) {
  const Tensor scratch = torch::stable::new_empty(memory, {memory.numel()}, ScalarType::Int);
  uint32_t* words = mutable_data<uint32_t>(scratch);
  const int column_blocks = int(divide_up(mask.width, kScanColumns));
  launch(scan_columns_kernel<E>, planes * column_blocks, dim3(kScanColumns, kScanSegments), stream, mask, column_blocks,
         words);
  const int row_blocks = int(divide_up(mask.width, kScanThreads));
  launch(scan_rows_kernel<Squares>, planes * mask.height * row_blocks, dim3(kScanThreads), stream,
         ScanRowsArguments<Squares>{words, mask.height, mask.width, mask.border, row_blocks, squares, finish});
}

template <typename E>
void transform_typed(const Tensor& memory, const Search& search, const DistanceFinish& finish, cudaStream_t stream) {
  const int64_t planes = memory.size(0);
  const MaskPlanes<E> mask = {data<E>(memory), int(memory.size(1)), int(memory.size(2)), search.labels, search.border};
  if (search.spacing_y == search.spacing_x) {
    const int64_t limit = square_limit(search.reach / search.spacing_y);
    const int sight = steps_in_sight(double(limit), 1);
    if (sight < kHalo) {
      tile_transform(mask, planes, PixelSquares<int>{int(limit)}, sight, finish, stream);
    } else {
      scan_transform(memory, mask, planes, PixelSquares<int64_t>{limit}, finish, stream);
    }
    return;
  }
  const double weight_y = search.spacing_y * search.spacing_y, weight_x = search.spacing_x * search.spacing_x;
  const double limit = search.reach * search.reach * (1 + 1e-12);  // not below the square of what rounds to reach
  const UnitSquares squares = {limit, weight_y, weight_x};
  const int sight = steps_in_sight(limit, std::min(weight_y, weight_x));
  if (sight < kHalo) {
    tile_transform(mask, planes, squares, sight, finish, stream);
  } else {
    scan_transform(memory, mask, planes, squares, finish, stream);
  }
}

// Writes the transform of mask to finish.out.
void transform(const Tensor& mask, const Search& search, const DistanceFinish& finish) {
  const Tensor memory = torch::stable::contiguous(mask);
  const cudaStream_t stream = current_stream(mask);
  const auto bytes = mask.element_size();
  if (bytes == 1) return transform_typed<uint8_t>(memory, search, finish, stream);
  if (bytes == 2) return transform_typed<uint16_t>(memory, search, finish, stream);
  if (bytes == 4) return transform_typed<uint32_t>(memory, search, finish, stream);
  transform_typed<uint64_t>(memory, search, finish, stream);
}

Tensor truncated_distance_transform(const Tensor& mask, double radius, bool labels, double spacing_y, double spacing_x,
                                    bool border, int64_t output, int64_t zero) {
  check_kernel_device(mask, "truncated_distance_transform");
  check_mask(mask, "truncated_distance_transform");
  const DistanceResult result = checked_result(radius, spacing_y, spacing_x, output, zero);
  const DeviceGuard guard(mask);
  Tensor out = torch::stable::new_empty(mask, {mask.size(0), mask.size(1), mask.size(2)}, result_type(result.kind));
  if (out.numel() == 0) return out;
  const double reach = result.radius + std::max(result.inside, result.outside);
  transform(mask, {labels, border, spacing_y, spacing_x, reach},
            {result, 0, 0, mask.size(1) * mask.size(2), out.mutable_data_ptr()});
  return out;
}

Tensor mask_to_bins(const Tensor& mask, int64_t radius, int64_t bins, bool labels, bool border, int64_t one_hot) {
  check_kernel_device(mask, "mask_to_bins");
  check_mask(mask, "mask_to_bins");
  const DistanceResult result = checked_bins(radius, bins, one_hot);
  const OneHotType type = one_hot_type(one_hot);
  const DeviceGuard guard(mask);
  const int64_t planes = mask.size(0), height = mask.size(1), width = mask.size(2);
  Tensor out = one_hot == 0 ? torch::stable::new_empty(mask, {planes, height, width}, type.type)
                            : torch::stable::new_empty(mask, {planes, bins, height, width}, type.type);
  if (out.numel() == 0) return out;
  transform(mask, {labels, border, 1, 1, result.radius},
            {result, type.bytes, type.one, height * width, out.mutable_data_ptr()});
  return out;
}

}  // namespace
}  // namespace cnnfast::distance

CNNFAST_CUDA_LIBRARY(m) {
  using namespace cnnfast::distance;
  m.impl("truncated_distance_transform", TORCH_BOX(&truncated_distance_transform));
  m.impl("mask_to_bins", TORCH_BOX(&mask_to_bins));
}
