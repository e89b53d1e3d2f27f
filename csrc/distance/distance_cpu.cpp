// The distance transforms on the CPU: allocation, and the choice of the algorithm.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

#include "core/allocation.h"
#include "core/tensors.h"
#include "distance/checks.h"
#include "distance/distance_math.h"
#include "distance/finish.h"
#include "distance/mask.h"
#include "distance/rows.h"
#include "distance/tiles.h"

namespace cnnfast::distance {
namespace {

// Above this radius the envelope of a row, which takes linear time, is as fast as trying every offset.
constexpr int64_t kLargestTileRadius = 64;

// The distance, in pixels of `spacing`, from which on a site makes no difference; at most kNoColumnDistance.
int64_t pixel_radius(const DistanceResult& result, double spacing) {
  const double units = result.radius + std::max(result.inside, result.outside);
  if (!(units / spacing < kNoColumnDistance - 2)) return kNoColumnDistance;
  const int64_t pixels = int64_t(std::ceil(units / spacing));
  return double(pixels) * spacing < units ? pixels + 1 : pixels;
}

template <typename T, typename Out, typename F>
void look_up(const Mask& mask, const MaskRule& rule, int64_t radius, const DistanceOutput& output, bool keeps,
             const F& result_of) {
  const auto make = [&](int64_t) { return LookUp<T, Out>(output, radius, keeps, result_of); };
  transform_tiles<T>(mask, rule, radius, make);
}

template <typename T>
void transform_in_tiles(const Mask& mask, const MaskRule& rule, int64_t radius, const DistanceOutput& output,
                        const DistanceResult& result) {
  switch (result.kind) {
    case DistanceKind::bins:
    case DistanceKind::one_hot:
      if (!result.in_pixels)
        return look_up<T, uint8_t>(mask, rule, radius, output, false, [&](int64_t s) { return result.bin(s); });
      return transform_tiles<T>(mask, rule, radius, [&](int64_t n) { return CountBins<T>(output, result, n); });
    case DistanceKind::squared_int32:
      return look_up<T, int32_t>(mask, rule, radius, output, false,
                                 [&](int64_t s) { return result.squared_pixels(s); });
    case DistanceKind::squared_units:
      return look_up<T, float>(mask, rule, radius, output, false, [&](int64_t s) { return result.squared_units(s); });
    case DistanceKind::distance:
      return look_up<T, float>(mask, rule, radius, output, false, [&](int64_t s) { return result.distance(s); });
    default:
      look_up<T, float>(mask, rule, radius, output, false, [&](int64_t s) { return result.signed_distance(s, true); });
      return look_up<T, float>(mask, {false, false, true}, radius, output, true,
                               [&](int64_t s) { return result.signed_distance(s, false); });
  }
}

template <typename V>
void transform_in_rows(const Mask& mask, const MaskRule& rule, const DistanceOutput& output,
                       const DistanceResult& result, double spacing_y, double spacing_x, int64_t farthest, V* memory,
                       int64_t pitch) {
  const ColumnMemory<V> columns{memory, mask.height, pitch};
  if (spacing_y == spacing_x) {
    transform_rows<int64_t>(mask, rule, output, result, columns, 1, 1, int32_t(farthest));
  } else {
    transform_rows<double>(mask, rule, output, result, columns, spacing_y * spacing_y, spacing_x * spacing_x,
                           int32_t(farthest));
  }
}

void transform(const Mask& mask, const MaskRule& rule, const DistanceOutput& output, const DistanceResult& result,
               double spacing_y, double spacing_x) {
  const int64_t radius = pixel_radius(result, spacing_y), pixels = mask.planes * mask.height * mask.width;
  const bool is_byte = result.kind == DistanceKind::bins || result.kind == DistanceKind::one_hot;
  if (spacing_y == spacing_x && radius < kByteRadius) {
    transform_in_tiles<uint8_t>(mask, rule, radius, output, result);
  } else if (spacing_y == spacing_x && radius <= kLargestTileRadius) {
    transform_in_tiles<uint16_t>(mask, rule, radius, output, result);
  } else if (!is_byte) {
    // Distances along the columns are kept in the memory of the results: each row is read before it is written.
    const int64_t pitch = mask.width * (result.kind == DistanceKind::squared_int64 ? 2 : 1);
    transform_in_rows(mask, rule, output, result, spacing_y, spacing_x, radius, static_cast<int32_t*>(output.data),
                      pitch);
  } else if (result.kind == DistanceKind::bins && radius <= 255) {
    transform_in_rows(mask, rule, output, result, spacing_y, spacing_x, radius, static_cast<uint8_t*>(output.data),
                      mask.width);
  } else {
    const Scratch<int32_t> columns(pixels);
    transform_in_rows(mask, rule, output, result, spacing_y, spacing_x, radius, columns.get(), mask.width);
  }
}

Tensor truncated_distance_transform(const Tensor& mask, double radius, bool labels, double spacing_y, double spacing_x,
                                    bool border, int64_t output, int64_t zero) {
  check_mask(mask, "truncated_distance_transform");
  const DistanceResult result = checked_result(radius, spacing_y, spacing_x, output, zero);
  Tensor out = new_result("truncated_distance_transform", mask, {mask.size(0), mask.size(1), mask.size(2)},
                          result_type(result.kind));
  if (out.numel() == 0) return out;
  const DistanceOutput where{out.mutable_data_ptr(), mask.size(1), mask.size(2), 0, 0};
  transform(Mask(mask), {labels, border, false}, where, result, spacing_y, spacing_x);
  return out;
}

Tensor mask_to_bins(const Tensor& mask, int64_t radius, int64_t bins, bool labels, bool border, int64_t one_hot) {
  check_mask(mask, "mask_to_bins");
  const DistanceResult result = checked_bins(radius, bins, one_hot);
  const OneHotType type = one_hot_type(one_hot);
  const int64_t planes = mask.size(0), height = mask.size(1), width = mask.size(2);
  std::vector<int64_t> size = {planes, height, width};
  if (one_hot != 0) size.insert(size.begin() + 1, bins);
  Tensor out = new_result("mask_to_bins", mask, size, type.type);
  if (out.numel() == 0) return out;
  const DistanceOutput where{out.mutable_data_ptr(), height, width, type.bytes, type.one};
  transform(Mask(mask), {labels, border, false}, where, result, 1, 1);
  return out;
}

}  // namespace
}  // namespace cnnfast::distance

STABLE_TORCH_LIBRARY_IMPL(cnnfast, CPU, m) {
  using namespace cnnfast::distance;
  m.impl("truncated_distance_transform", TORCH_BOX(&truncated_distance_transform));
  m.impl("mask_to_bins", TORCH_BOX(&mask_to_bins));
}
