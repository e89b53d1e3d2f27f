// Discs on the CPU: checks that protect memory, allocation, the choice of the element type.
#include <algorithm>
#include <optional>
#include <tuple>
#include <vector>

#include "core/allocation.h"
#include "core/dispatch.h"
#include "core/tensors.h"
#include "discs/checks.h"
#include "discs/maximum.h"
#include "discs/sum.h"
#include "discs/sum_backward.h"
#include "discs/union.h"

namespace cnnfast::discs {
namespace {

// Whether there is nothing to compute, and whether discs leave a part of the padded planes untouched.
bool is_empty(const Tensor& planes) { return planes.numel() == 0; }
bool leaves_a_rest(const Tensor& planes, const std::vector<int64_t>& radii, int64_t pad) {
  return is_empty(planes) || pad > largest(radii);
}

Tensor disc_sum(const Tensor& bins_, const std::vector<int64_t> radii_, const std::optional<Tensor> weight_,
                int64_t pad, bool noisy_or) {
  check_bins(bins_, radii_, pad, "disc_sum");
  const std::optional<Tensor> weight = checked_disc_weight(bins_, weight_, noisy_or, "disc_sum");
  return dispatch(bins_, "disc_sum", [&](auto element) {
    using E = decltype(element);
    using T = accumulate_t<E>;
    const Bins<E> bins(bins_);
    const std::vector<int64_t> radii = effective_radii(radii_, bins.height, bins.width, pad);
    Tensor output = new_result("disc_sum", bins_, {bins.images, 1, bins.height + 2 * pad, bins.width + 2 * pad},
                               accumulation_type(bins_), leaves_a_rest(bins_, radii, pad));
    if (!is_empty(bins_)) DiscSum<E>(bins, radii, data<T>(weight), pad, noisy_or, mutable_data<T>(output)).run();
    return output;
  });
}

std::tuple<Tensor, Tensor> disc_sum_backward(const Tensor& grad_, const Tensor& bins_,
                                             const std::vector<int64_t> radii_, const std::optional<Tensor> weight_,
                                             int64_t pad, bool noisy_or, bool bins_gradient, bool weight_gradient) {
  const char* name = "_disc_sum_backward";
  check_bins(bins_, radii_, pad, name);
  check_disc_gradient(grad_, bins_, pad, name);
  STD_TORCH_CHECK(!(noisy_or && weight_gradient), name, ": noisy_or must have no weight");
  const std::optional<Tensor> weight = checked_disc_weight(bins_, weight_, noisy_or, name);
  return dispatch(bins_, name, [&](auto element) {
    using E = decltype(element);
    using T = accumulate_t<E>;
    const Bins<E> bins(bins_);
    const std::vector<int64_t> radii = effective_radii(radii_, bins.height, bins.width, pad);
    const Tensor grad = torch::stable::contiguous(grad_);
    std::vector<int64_t> size = {0};
    if (bins_gradient) size = {bins.images, bins.kinds, bins.height, bins.width};
    Tensor grad_bins = new_result(name, bins_, size);
    Tensor grad_weight = torch::stable::new_zeros(grad, {weight_gradient ? bins.kinds : 0});
    if (!is_empty(bins_) && (bins_gradient || weight_gradient))
      DiscSumBackward<E>(data<T>(grad), bins, radii, data<T>(weight), pad, noisy_or,
                         bins_gradient ? mutable_data<E>(grad_bins) : nullptr,
                         weight_gradient ? mutable_data<T>(grad_weight) : nullptr)
          .run();
    return std::make_tuple(grad_bins, grad_weight);
  });
}

std::tuple<Tensor, Tensor> disc_max(const Tensor& bins_, const std::vector<int64_t> radii_, int64_t pad) {
  check_bins(bins_, radii_, pad, "disc_max");
  return dispatch(bins_, "disc_max", [&](auto element) {
    using E = decltype(element);
    const Bins<E> bins(bins_);
    const std::vector<int64_t> radii = effective_radii(radii_, bins.height, bins.width, pad);
    const std::vector<int64_t> size = {bins.images, 1, bins.height + 2 * pad, bins.width + 2 * pad};
    const bool rest = leaves_a_rest(bins_, radii, pad);
    Tensor output = new_result("disc_max", bins_, size, std::nullopt, rest);
    Tensor found = new_result("disc_max", bins_, size, ScalarType::Long);
    if (rest) torch::stable::fill_(found, -1);
    if (!is_empty(bins_)) DiscMaximum<E>(bins, radii, pad, mutable_data<E>(output), mutable_data<int64_t>(found)).run();
    return std::make_tuple(output, found);
  });
}

// Looking at every label costs little here, in the order of memory; a CUDA kernel paints nothing for a label without a
// radius.
void check_label_values(const Bins<uint8_t>& labels, int64_t kinds) {
  const bool by_rows = labels.column_stride <= labels.row_stride;
  const int64_t lines = by_rows ? labels.height : labels.width, length = by_rows ? labels.width : labels.height;
  const int64_t stride = by_rows ? labels.column_stride : labels.row_stride;
  uint8_t largest = 0;
  for (int64_t i = 0; i < labels.images; ++i)
    for (int64_t line = 0; line < lines; ++line) {
      const uint8_t* first = labels.at(i, 0, by_rows ? line : 0, by_rows ? 0 : line);
      for (int64_t k = 0; k < length; ++k) largest = std::max(largest, first[k * stride]);
    }
  STD_TORCH_CHECK(largest <= kinds, "disc_union: labels must be 0 to ", kinds, ", got ", int(largest));
}

Tensor disc_union(const Tensor& labels_, const std::vector<int64_t> radii_, int64_t pad) {
  check_labels(labels_, radii_, pad);
  const Tensor planes = torch::stable::unsqueeze(labels_, 1);
  const Bins<uint8_t> labels(planes);
  check_label_values(labels, int64_t(radii_.size()));
  const std::vector<int64_t> radii = effective_radii(radii_, labels.height, labels.width, pad);
  Tensor output = new_result("disc_union", labels_, {labels.images, labels.height + 2 * pad, labels.width + 2 * pad},
                             ScalarType::Bool, leaves_a_rest(labels_, radii, pad));
  if (is_empty(labels_)) return output;
  auto* out = mutable_data<uint8_t>(output);
  const int64_t radius = largest(radii);
  if (radius <= 15) {
    DiscUnion<uint8_t>(labels, radii, pad, out).run();
  } else if (radius <= 255) {
    DiscUnion<uint16_t>(labels, radii, pad, out).run();
  } else {
    DiscUnion<uint32_t>(labels, radii, pad, out).run();
  }
  return output;
}

}  // namespace
}  // namespace cnnfast::discs

STABLE_TORCH_LIBRARY_IMPL(cnnfast, CPU, m) {
  using namespace cnnfast::discs;
  m.impl("disc_sum", TORCH_BOX(&disc_sum));
  m.impl("_disc_sum_backward", TORCH_BOX(&disc_sum_backward));
  m.impl("disc_max", TORCH_BOX(&disc_max));
  m.impl("disc_union", TORCH_BOX(&disc_union));
}
