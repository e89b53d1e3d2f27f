// Sums and unions of discs on CUDA: checks that protect memory, allocation, the choice of the element type, launches.
// Nothing here waits for the device, and all memory comes from torch's allocator: calls can be captured in CUDA graphs.
#include <algorithm>
#include <optional>
#include <tuple>
#include <vector>

#include "core/cuda_tensors.h"
#include "core/cuda_total.h"
#include "core/division.h"
#include "core/runtime.h"
#include "core/tensors.h"
#include "discs/checks.h"
#include "discs/cuda_max.h"
#include "discs/cuda_sum.h"
#include "discs/cuda_tiling.h"
#include "discs/cuda_union.h"

namespace cnnfast::discs {
namespace {

constexpr int64_t kLongestSide = int64_t(1) << 29;

// The radii for planes of height * width pixels: none larger than it takes to cover every result.
DiscRadii disc_radii(const std::vector<int64_t>& radii, int64_t height, int64_t width, int64_t pad, const char* name) {
  STD_TORCH_CHECK(radii.size() <= size_t(kMostDiscs), name, ": expected at most ", kMostDiscs, " radii on CUDA, got ",
                  radii.size());
  STD_TORCH_CHECK(std::max(height, width) + 2 * pad <= kLongestSide, name,
                  ": expected results of at most 2^29 rows and columns on CUDA, got ", height + 2 * pad, " x ",
                  width + 2 * pad);
  DiscRadii found = {int(radii.size()), {}};
  for (int n = 0; n < found.count; ++n) found.radius[n] = uint16_t(std::min(radii[n], height + width + 2 * pad));
  return found;
}

int largest(const DiscRadii& radii) { return *std::max_element(radii.radius, radii.radius + radii.count); }

template <typename E>
void launch_sum(const Tensor& bins, const DiscRadii& radii, const std::optional<Tensor>& weight, int64_t pad,
                const Tensor& out, cudaStream_t stream) {
  using T = accumulate_t<E>;
  const DiscTiling tiling(int(out.size(2)), int(out.size(3)), largest(radii));
  const int height = int(bins.size(2)), width = int(bins.size(3));
  T* sums = mutable_data<T>(out);
  const DiscSumArguments<E> a = {radii, tiling, data<E>(bins), data<T>(weight), height, width, int(pad), sums};
  launch(disc_sum_kernel<E>, out.size(0) * tiling.tiles(), dim3(kDiscThreads), stream, a);
}

Tensor disc_sum(const Tensor& bins_, const std::vector<int64_t> radii_, const std::optional<Tensor> weight_,
                int64_t pad, bool noisy_or) {
  check_bins(bins_, radii_, pad, "disc_sum");
  const DiscRadii radii = disc_radii(radii_, bins_.size(2), bins_.size(3), pad, "disc_sum");
  const std::optional<Tensor> weight = checked_disc_weight(bins_, weight_, noisy_or, "disc_sum");
  const DeviceGuard guard(bins_);
  return dispatch_on_device(bins_, "disc_sum", [&](auto element) {
    using E = decltype(element);
    using T = accumulate_t<E>;
    const Tensor bins = torch::stable::contiguous(bins_);
    const cudaStream_t stream = current_stream(bins_);
    const ScalarType accumulation = accumulation_type(bins_);
    const int64_t images = bins.size(0), count = bins.size(1), height = bins.size(2), width = bins.size(3);
    Tensor out = torch::stable::new_empty(bins, {images, 1, height + 2 * pad, width + 2 * pad}, accumulation);
    if (out.numel() == 0) return out;
    if (!noisy_or) {
      launch_sum<E>(bins, radii, weight, pad, out, stream);
      return out;
    }
    const Tensor evidence = torch::stable::new_empty(bins, {images, count, height, width}, accumulation);
    launch(evidence_kernel<E>, divide_up(bins.numel(), kDiscThreads), dim3(kDiscThreads), stream, data<E>(bins),
           bins.numel(), mutable_data<T>(evidence));
    launch_sum<T>(evidence, radii, weight, pad, out, stream);
    return out;
  });
}

std::tuple<Tensor, Tensor> disc_sum_backward(const Tensor& grad_, const Tensor& bins_,
                                             const std::vector<int64_t> radii_, const std::optional<Tensor> weight_,
                                             int64_t pad, bool noisy_or, bool bins_gradient, bool weight_gradient) {
  const char* name = "_disc_sum_backward";
  check_bins(bins_, radii_, pad, name);
  check_disc_gradient(grad_, bins_, pad, name);
  STD_TORCH_CHECK(!(noisy_or && weight_gradient), name, ": noisy_or must have no weight");
  const DiscRadii radii = disc_radii(radii_, bins_.size(2), bins_.size(3), pad, name);
  const std::optional<Tensor> weight = checked_disc_weight(bins_, weight_, noisy_or, name);
  const DeviceGuard guard(bins_);
  return dispatch_on_device(bins_, name, [&](auto element) {
    using E = decltype(element);
    using T = accumulate_t<E>;
    const Tensor grad = torch::stable::contiguous(grad_), bins = torch::stable::contiguous(bins_);
    const cudaStream_t stream = current_stream(bins_);
    const int64_t images = bins.size(0), count = bins.size(1), height = bins.size(2), width = bins.size(3);
    const DiscTiling tiling(int(height), int(width), largest(radii));
    const int64_t parts = bins.numel() ? images * tiling.tiles() : 0;  // a bin
    Tensor bins_grad = bins_gradient ? torch::stable::new_empty(bins, {images, count, height, width})
                                     : torch::stable::new_empty(bins, {0});
    Tensor weight_grad = torch::stable::new_empty(grad, {weight_gradient ? count : 0});
    const Tensor weight_parts =
        torch::stable::new_empty(grad, {weight_gradient ? count * parts : 0}, ScalarType::Double);
    const DiscSumBackwardArguments<E> a = {radii,
                                           tiling,
                                           data<T>(grad),
                                           data<E>(bins),
                                           data<T>(weight),
                                           int(grad.size(2)),
                                           int(grad.size(3)),
                                           int(pad),
                                           images,
                                           noisy_or,
                                           bins_gradient ? mutable_data<E>(bins_grad) : nullptr,
                                           weight_gradient ? mutable_data<double>(weight_parts) : nullptr};
    if (bins_gradient || weight_gradient)
      launch(disc_sum_backward_kernel<E>, count * parts, dim3(kDiscThreads), stream, a);
    if (weight_gradient)
      launch(total_kernel<T>, count, dim3(kTotalThreads), stream, data<double>(weight_parts), parts,
             mutable_data<T>(weight_grad));
    return std::make_tuple(bins_grad, weight_grad);
  });
}

std::tuple<Tensor, Tensor> disc_max(const Tensor& bins_, const std::vector<int64_t> radii_, int64_t pad) {
  check_bins(bins_, radii_, pad, "disc_max");
  const DiscRadii radii = disc_radii(radii_, bins_.size(2), bins_.size(3), pad, "disc_max");
  const DeviceGuard guard(bins_);
  return dispatch_on_device(bins_, "disc_max", [&](auto element) {
    using E = decltype(element);
    const Tensor bins = torch::stable::contiguous(bins_);
    const int64_t height = bins.size(2) + 2 * pad, width = bins.size(3) + 2 * pad;
    Tensor out = torch::stable::new_empty(bins, {bins.size(0), 1, height, width});
    Tensor index = torch::stable::new_empty(bins, {bins.size(0), 1, height, width}, ScalarType::Long);
    if (out.numel() == 0) return std::make_tuple(out, index);
    const DiscTiling tiling(int(height), int(width), largest(radii));
    const int rows = int(bins.size(2)), columns = int(bins.size(3));
    E* largest_values = mutable_data<E>(out);
    int64_t* places = mutable_data<int64_t>(index);
    const DiscMaxArguments<E> a = {radii, tiling, data<E>(bins), rows, columns, int(pad), largest_values, places};
    launch(disc_max_kernel<E>, bins.size(0) * tiling.tiles(), dim3(kDiscThreads), current_stream(bins_), a);
    return std::make_tuple(out, index);
  });
}

Tensor disc_union(const Tensor& labels_, const std::vector<int64_t> radii_, int64_t pad) {
  check_kernel_device(labels_, "disc_union");
  check_labels(labels_, radii_, pad);
  const DiscRadii radii = disc_radii(radii_, labels_.size(1), labels_.size(2), pad, "disc_union");
  const DeviceGuard guard(labels_);
  const Tensor labels = torch::stable::contiguous(labels_);
  const int64_t height = labels.size(1) + 2 * pad, width = labels.size(2) + 2 * pad;
  Tensor out = torch::stable::new_empty(labels, {labels.size(0), height, width}, ScalarType::Bool);
  if (out.numel() == 0) return out;
  const DiscTiling tiling(int(height), int(width), largest(radii));
  const int rows = int(labels.size(1)), columns = int(labels.size(2));
  bool* covered = mutable_data<bool>(out);
  const DiscUnionArguments a = {radii, tiling, data<uint8_t>(labels), rows, columns, int(pad), covered};
  launch(disc_union_kernel, labels.size(0) * tiling.tiles(), dim3(kDiscThreads), current_stream(labels_), a);
  return out;
}

}  // namespace
}  // namespace cnnfast::discs

CNNFAST_CUDA_LIBRARY(m) {
  using namespace cnnfast::discs;
  m.impl("disc_sum", TORCH_BOX(&disc_sum));
  m.impl("_disc_sum_backward", TORCH_BOX(&disc_sum_backward));
  m.impl("disc_max", TORCH_BOX(&disc_max));
  m.impl("disc_union", TORCH_BOX(&disc_union));
}
