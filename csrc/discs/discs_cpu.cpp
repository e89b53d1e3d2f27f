// Discs on the CPU: checks that protect memory, allocation, the choice of the element type.
#include <algorithm>
#include <optional>
#include <tuple>
#include <vector>

#include "core/dispatch.h"
#include "core/tensors.h"
#include "discs/checks.h"
#include "discs/maximum.h"
#include "discs/sum.h"
#include "discs/sum_backward.h"
#include "discs/union.h"

namespace cnnfast::discs {
namespace {

// Uninitialised where discs reach every element of the padded planes, else zero.
Tensor new_planes(const Tensor& like, const std::vector<int64_t>& size, bool zero,
                  std::optional<ScalarType> type = std::nullopt) {
  return on_huge_pages(zero ? torch::stable::new_zeros(like, size, type) : torch::stable::new_empty(like, size, type));
}

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
    Tensor output = new_planes(bins_, {bins.images, 1, bins.height + 2 * pad, bins.width + 2 * pad},
                               leaves_a_rest(bins_, radii, pad), accumulation_type(bins_));
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
    Tensor grad_bins = new_planes(bins_, size, false);
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
    Tensor output = new_planes(bins_, size, rest), found = new_planes(bins_, size, false, ScalarType::Long);
    if (rest) torch::stable::fill_(found, -1);
    if (!is_empty(bins_)) DiscMaximum<E>(bins, radii, pad, mutable_data<E>(output), mutable_data<int64_t>(found)).run();
    return std::make_tuple(output, found);
  });
}

// Looking at every label costs little here; a CUDA kernel paints nothing for a label without a radius.
void check_label_values(const Bins<uint8_t>& labels, int64_t kinds) {
  uint8_t largest = 0;
  for (int64_t i = 0; i < labels.images; ++i)
    for (int64_t y = 0; y < labels.height; ++y)
      for (int64_t x = 0; x < labels.width; ++x) largest = std::max(largest, *labels.at(i, 0, y, x));
  STD_TORCH_CHECK(largest <= kinds, "disc_union: labels must be 0 to ", kinds, ", got ", int(largest));
}

Tensor disc_union(const Tensor& labels_, const std::vector<int64_t> radii_, int64_t pad) {
  check_labels(labels_, radii_, pad);
  const Tensor planes = torch::stable::unsqueeze(labels_, 1);
  const Bins<uint8_t> labels(planes);
  check_label_values(labels, int64_t(radii_.size()));
  const std::vector<int64_t> radii = effective_radii(radii_, labels.height, labels.width, pad);
  Tensor output = new_planes(labels_, {labels.images, labels.height + 2 * pad, labels.width + 2 * pad},
                             leaves_a_rest(labels_, radii, pad), ScalarType::Bool);
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
