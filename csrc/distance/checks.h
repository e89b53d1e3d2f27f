// Checks that protect memory: what the transforms of all devices require of their arguments.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "core/tensors.h"
#include "distance/distance_math.h"

namespace cnnfast::distance {

inline void check_mask(const Tensor& mask, const char* name) {
  STD_TORCH_CHECK(mask.dim() == 3, name, ": mask must have 3 dimensions, got ", mask.dim());
  const ScalarType type = mask.scalar_type();
  STD_TORCH_CHECK(type == ScalarType::Bool || type == ScalarType::Byte || type == ScalarType::Char ||
                      type == ScalarType::Short || type == ScalarType::Int || type == ScalarType::Long,
                  name, ": mask must be of bool or a signed integer or uint8");
  STD_TORCH_CHECK(mask.size(1) < (1 << 30) && mask.size(2) < (1 << 30), name,
                  ": planes must have less than 2^30 rows and columns");
}

// The wanted result of truncated_distance_transform.
inline DistanceResult checked_result(double radius, double spacing_y, double spacing_x, int64_t output, int64_t zero) {
  const char* name = "truncated_distance_transform";
  STD_TORCH_CHECK(radius == 0 || (radius >= 1 && std::isfinite(radius)), name,
                  ": radius must be 0 or a number >= 1, got ", radius);
  for (const double spacing : {spacing_y, spacing_x})
    STD_TORCH_CHECK(spacing >= 1e-12 && spacing <= 1e12, name, ": spacing must be from 1e-12 to 1e12, got ", spacing);
  STD_TORCH_CHECK(output >= 0 && output <= 3, name, ": output must be 0, 1, 2 or 3, got ", output);
  STD_TORCH_CHECK(zero >= 0 && zero <= 2, name, ": zero must be 0, 1 or 2, got ", zero);
  const bool in_pixels = spacing_y == 1 && spacing_x == 1;
  const bool is_whole = radius == std::floor(radius);
  if (output == 0)
    STD_TORCH_CHECK(radius >= 1 && radius <= 255 && is_whole, name,
                    ": radius of bins must be a whole number from 1 to 255, got ", radius);
  if (output == 2 && in_pixels)
    STD_TORCH_CHECK(radius <= 46340 && is_whole, name,
                    ": radius of squared distances in pixels must be a whole number up to 46340, got ", radius);
  const DistanceKind squared = !in_pixels    ? DistanceKind::squared_units
                               : radius == 0 ? DistanceKind::squared_int64
                                             : DistanceKind::squared_int32;
  const DistanceKind kinds[] = {DistanceKind::bins, DistanceKind::distance, squared, DistanceKind::signed_distance};
  const double pixel = spacing_y < spacing_x ? spacing_y : spacing_x;
  DistanceResult result{};
  result.kind = kinds[output];
  result.radius = radius == 0 ? std::numeric_limits<double>::infinity() : radius;
  result.spacing = spacing_y;
  result.in_pixels = in_pixels;
  if (output == 3) {
    result.inside = zero == 0 ? 0 : zero == 1 ? pixel / 2 : pixel;
    result.outside = zero == 1 ? pixel / 2 : 0;
  }
  result.bins = result.whole_radius = output == 0 ? int(radius) : 0;
  return result;
}

// The wanted result of mask_to_bins.
inline DistanceResult checked_bins(int64_t radius, int64_t bins, int64_t one_hot) {
  STD_TORCH_CHECK(radius >= 1 && radius <= 255, "mask_to_bins: radius must be from 1 to 255, got ", radius);
  STD_TORCH_CHECK(bins >= 1 && bins <= radius, "mask_to_bins: bins must be from 1 to the radius, got ", bins);
  STD_TORCH_CHECK(one_hot >= 0 && one_hot <= 5, "mask_to_bins: one_hot must be from 0 to 5, got ", one_hot);
  DistanceResult result{};
  result.kind = one_hot == 0 ? DistanceKind::bins : DistanceKind::one_hot;
  result.radius = double(radius);
  result.spacing = 1;
  result.in_pixels = true;
  result.bins = int(bins);
  result.whole_radius = int(radius);
  return result;
}

// The type of a result.
inline ScalarType result_type(DistanceKind kind) {
  switch (kind) {
    case DistanceKind::bins:
    case DistanceKind::one_hot:
      return ScalarType::Byte;
    case DistanceKind::squared_int32:
      return ScalarType::Int;
    case DistanceKind::squared_int64:
      return ScalarType::Long;
    default:
      return ScalarType::Float;
  }
}

// Element types of planes of bins, by the schema's number, and the bits of their 1.
struct OneHotType {
  ScalarType type;
  int bytes;
  uint64_t one;
};
inline OneHotType one_hot_type(int64_t one_hot) {
  const OneHotType types[] = {{ScalarType::Byte, 0, 0},           {ScalarType::Byte, 1, 1},
                              {ScalarType::Half, 2, 0x3c00},      {ScalarType::BFloat16, 2, 0x3f80},
                              {ScalarType::Float, 4, 0x3f800000}, {ScalarType::Double, 8, 0x3ff0000000000000}};
  return types[one_hot];
}

}  // namespace cnnfast::distance
