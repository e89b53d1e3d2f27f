// Transforms of large or unlimited radius, and those with two different spacings: columns first, then rows.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <type_traits>
#include <vector>

#include "core/parallel.h"
#include "distance/columns.h"
#include "distance/distance_math.h"
#include "distance/envelope.h"
#include "distance/finish.h"
#include "distance/mask.h"

namespace cnnfast::distance {

// Larger than any distance along a column, and small enough that sums do not overflow.
constexpr int32_t kNoColumnDistance = 1 << 30;

// Results of one row from its squares; where `columns` is not positive, there is background.
class RowFinish {
 public:
  RowFinish(const DistanceOutput& output, const DistanceResult& result)
      : output_(output), result_(result), labels_(result.kind == DistanceKind::one_hot ? output.width : 0) {}

  template <typename Square>
  void operator()(const Square* squares, const int32_t* columns, int64_t plane, int64_t y) {
    const auto fill = [&](auto* to, const auto& result_of) {
      using Out = std::remove_pointer_t<decltype(to)>;
      for (int64_t x = 0; x < output_.width; ++x) to[x] = columns[x] > 0 ? Out(result_of(squares[x])) : Out(0);
    };
    switch (result_.kind) {
      case DistanceKind::bins:
        return fill(output_.row<uint8_t>(plane, y), [&](Square s) { return result_.bin(s); });
      case DistanceKind::one_hot:
        fill(labels_.data(), [&](Square s) { return result_.bin(s); });
        return output_.store_bins(result_.bins, labels_.data(), plane, y, 0, output_.width);
      case DistanceKind::squared_int32:
        return fill(output_.row<int32_t>(plane, y), [&](Square s) { return result_.squared_pixels(s); });
      case DistanceKind::squared_int64:
        return fill(output_.row<int64_t>(plane, y), [&](Square s) { return result_.squared_pixels(s); });
      case DistanceKind::squared_units:
        return fill(output_.row<float>(plane, y), [&](Square s) { return result_.squared_units(s); });
      default:
        return fill(output_.row<float>(plane, y), [&](Square s) {
          return result_.kind == DistanceKind::distance ? result_.distance(s) : result_.signed_distance(s, true);
        });
    }
  }

  // Signed distances of the background.
  template <typename Square>
  void background(const Square* squares, const int32_t* columns, int64_t plane, int64_t y) const {
    float* to = output_.row<float>(plane, y);
    for (int64_t x = 0; x < output_.width; ++x)
      if (columns[x] <= 0) to[x] = result_.signed_distance(squares[x], false);
  }

 private:
  DistanceOutput output_;
  DistanceResult result_;
  std::vector<uint8_t> labels_;
};

// The second pass for all rows. The distances along the columns, of type V, may lie in the memory of the results.
template <typename Square, typename V>
class Rows {
 public:
  Rows(const Mask& mask, const MaskRule& rule, const DistanceOutput& output, const DistanceResult& result,
       const ColumnMemory<V>& columns, double weight_y, double weight_x, int32_t farthest)
      : mask_(mask),
        rule_(rule),
        is_signed_(result.kind == DistanceKind::signed_distance),
        columns_(columns),
        pass_(mask.width, weight_y, weight_x, farthest),
        finish_(output, result),
        row_(mask.width),
        raw_(rule.labels ? (mask.width + 1) << mask.log_size : 0),
        edges_(rule.labels ? round_up(mask.width, kLaneBlock) : 0) {}

  void run(int64_t plane, int64_t y) {
    const V* from = columns_.row(plane, y);
    for (int64_t x = 0; x < mask_.width; ++x) row_[x] = from[x];
    finish_(pass_.foreground(row_.data(), edges(plane, y), rule_.border), row_.data(), plane, y);
    if (is_signed_) finish_.background(pass_.background(row_.data()), row_.data(), plane, y);
  }

 private:
  const uint8_t* edges(int64_t plane, int64_t y) {
    if (!rule_.labels) return nullptr;
    mask_.copy(plane, y, 0, mask_.width, raw_.data());
    kernels().differences[mask_.log_size](raw_.data(), raw_.data() + mask_.element_size(), mask_.width, edges_.data());
    return edges_.data();
  }

  const Mask& mask_;
  const MaskRule rule_;
  const bool is_signed_;
  const ColumnMemory<V> columns_;
  RowPass<Square> pass_;
  RowFinish finish_;
  std::vector<int32_t> row_;
  std::vector<char> raw_;
  std::vector<uint8_t> edges_;
};

template <typename Square, typename V>
void transform_rows(const Mask& mask, const MaskRule& rule, const DistanceOutput& output, const DistanceResult& result,
                    const ColumnMemory<V>& columns, double weight_y, double weight_x, int32_t farthest) {
  measure_columns(mask, rule, V(farthest), columns);
  const int64_t rows = mask.planes * mask.height, together = 8, items = divide_up(rows, together);
  const int64_t workers = worker_count(items, 16 * rows * mask.width);
  std::vector<std::unique_ptr<Rows<Square, V>>> passes(workers);
  for_each_item(items, workers, [&](int64_t worker, int64_t item, int64_t) {
    if (!passes[worker])
      passes[worker] =
          std::make_unique<Rows<Square, V>>(mask, rule, output, result, columns, weight_y, weight_x, farthest);
    for (int64_t row = item * together; row < std::min((item + 1) * together, rows); ++row)
      passes[worker]->run(row / mask.height, row % mask.height);
  });
}

}  // namespace cnnfast::distance
