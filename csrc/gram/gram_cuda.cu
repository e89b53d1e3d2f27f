// The Gram family on CUDA: checks that protect memory, allocation, the choice of the element type, launches. Nothing
// here waits for the device, and all memory comes from torch's allocator: calls can be captured in CUDA graphs.
#include <algorithm>
#include <array>
#include <optional>
#include <tuple>

#include "core/cuda_tensors.h"
#include "core/cuda_total.h"
#include "core/division.h"
#include "core/runtime.h"
#include "core/tensors.h"
#include "gram/checks.h"
#include "gram/cuda_apply.h"
#include "gram/cuda_choice.h"
#include "gram/cuda_finish.h"
#include "gram/cuda_products.h"

namespace cnnfast::gram {
namespace {

// Enough blocks for several on every multiprocessor of a large GPU. A constant, so that the bits of the results do not
// depend on the GPU.
constexpr int64_t kWantedBlocks = 528;
constexpr int64_t kShortestChunk = 256;
constexpr int64_t kWorkspaceElements = int64_t(1) << 26;

// Features whose pixels or channels are neighbours in memory: x itself, or a packed copy of it.
Tensor readable(const Tensor& x) {
  const bool direct = x.stride(2) == 1 || x.stride(1) == 1 || x.size(2) == 1;
  return direct ? x : torch::stable::contiguous(x);
}

// Everything about x that the operators share; keeps the tensors alive that it points to.
template <typename E>
struct Arguments {
  using T = accumulate_t<E>;

  Tensor memory;
  std::optional<Tensor> weight_memory, sums_memory;
  Features<E> x;
  PixelWeights<T> weights;
  ScalarType accumulation;
  cudaStream_t stream;
  bool last;  // the layout of gradients
  InverseDivisors<T> inverse;

  Arguments(const Tensor& x_, const std::optional<Tensor>& weight, int64_t normalize, double divisor,
            int64_t normalizing_channels, const char* name)
      : memory(readable(x_)),
        weight_memory(checked_weight(x_, weight, name)),
        x(memory),
        weights(weight_memory ? &*weight_memory : nullptr),
        accumulation(accumulation_type(x_)),
        stream(current_stream(x_)),
        last(Features<E>(x_).channels_last()),
        inverse{nullptr, 1, Normalize(normalize), divisor, normalizing_channels, x.pixels} {
    check_normalize(normalize, name);
  }

  int64_t regions() const { return weights.regions; }
  int64_t matrices() const { return x.batch * weights.regions; }
  Tensor workspace(int64_t elements, ScalarType type) const {
    return torch::stable::new_empty(memory, {elements}, type);
  }
  Tensor new_matrices(int64_t rows, int64_t columns) const {
    const std::array<int64_t, 4> shape = {x.batch, regions(), rows, columns};
    return torch::stable::new_empty(memory, shape, accumulation);
  }
  Tensor one() const { return torch::stable::full({1}, 1, memory.scalar_type(), std::nullopt, memory.device()); }
};

// Sums the products of every tile and finishes them: finish(matrix, i, j, sum). `totals`, if not null, receives one
// number from each block of the second kernel, `totals_per_matrix` for each matrix.
template <typename E, typename Finish>
class ProductsLaunch {
 public:
  using T = accumulate_t<E>;

  ProductsLaunch(const Arguments<E>& a, ProductsArguments<E> products)
      : a_(a), p_(products), matrices_(p_.x.batch * p_.weights.regions), pairs_(p_.tiles.pairs()) {
    const int64_t longest = std::max<int64_t>(1, divide_up(p_.x.pixels, kShortestChunk));
    const int64_t splits = std::clamp<int64_t>(kWantedBlocks / std::max<int64_t>(1, matrices_ * pairs_), 1, longest);
    p_.chunk = round_up(divide_up(p_.x.pixels, splits), kChunkUnit);
    p_.splits = p_.chunk ? divide_up(p_.x.pixels, p_.chunk) : 1;
    slices_ = std::min<int64_t>(kTile, p_.tiles.rows) * kTile / kFinishColumns;
  }

  int64_t totals_per_matrix() const { return pairs_ * slices_; }

  void run(const Finish& finish, double* totals) {
    const int64_t tile = kTile * kTile, blocks = pairs_ * p_.splits;  // a matrix
    if (matrices_ == 0 || blocks == 0) return;
    const int64_t group = std::clamp<int64_t>(kWorkspaceElements / (blocks * tile), 1, matrices_);
    const Tensor workspace = a_.workspace(group * blocks * tile, a_.accumulation);
    p_.partial = mutable_data<T>(workspace);
    const auto kernel = choose_products_kernel(p_);
    for (int64_t first = 0; first < matrices_; first += group) {
      const int64_t count = std::min(group, matrices_ - first);
      p_.first_matrix = first;
      launch(kernel, count * blocks, dim3(kThreads), a_.stream, p_);
      const unsigned lanes = unsigned(std::min<int64_t>(kFinishLanes, p_.splits));
      launch(finish_kernel<T, Finish>, count * pairs_ * slices_, dim3(kFinishColumns, lanes), a_.stream, p_.tiles,
             p_.splits, slices_, first, p_.partial, finish, totals ? totals + first * totals_per_matrix() : nullptr);
    }
  }

 private:
  const Arguments<E>& a_;
  ProductsArguments<E> p_;
  int64_t matrices_, pairs_, slices_;
};

template <typename E>
ProductsArguments<E> products(const Features<E>& x, const Features<E>& y, const PixelWeights<accumulate_t<E>>& weights,
                              bool symmetric) {
  return {x, y, weights, nullptr, nullptr, {x.channels, y.channels, symmetric}, 1, 0, 0, nullptr};
}

// Fills a.inverse: with weights, their sums, as products of ones.
template <typename E>
void sum_weights(Arguments<E>& a) {
  using T = accumulate_t<E>;
  if (!a.weights.data) return;
  const Tensor one = a.one();
  const Features<E> ones(data<E>(one), a.weight_memory->size(0), a.x.pixels);
  a.inverse.count = std::max<int64_t>(1, ones.batch * a.regions());
  a.sums_memory = a.workspace(a.inverse.count, a.accumulation);
  a.inverse.weight_sums = data<T>(*a.sums_memory);
  ProductsLaunch<E, StoreSum<T>>(a, products(ones, ones, a.weights, false))
      .run({mutable_data<T>(*a.sums_memory)}, nullptr);
}

// mu (N, R, C): the weighted mean of every channel, as the product of the features with ones. Nothing if not centred.
template <typename E>
std::optional<Tensor> means_if(bool centered, const Arguments<E>& a, const Features<E>& x) {
  using T = accumulate_t<E>;
  if (!centered) return std::nullopt;
  const Tensor one = a.one();
  const Features<E> ones(data<E>(one), x.batch, x.pixels);
  InverseDivisors<T> inverse = a.inverse;
  inverse.normalize = Normalize::hw;
  Tensor means = a.new_matrices(x.channels, 1);
  ProductsLaunch<E, StoreMatrix<T>>(a, products(x, ones, a.weights, false))
      .run({inverse, x.channels, 1, false, mutable_data<T>(means)}, nullptr);
  return means;
}

Tensor gram(const Tensor& x_, const std::optional<Tensor> weight, int64_t normalize, double divisor, bool centered) {
  check_features(x_, "gram");
  const DeviceGuard guard(x_);
  return dispatch_on_device(x_, "gram", [&](auto element) {
    using E = decltype(element);
    using T = accumulate_t<E>;
    Arguments<E> a(x_, weight, normalize, divisor, x_.size(1), "gram");
    sum_weights(a);
    const int64_t c = a.x.channels;
    Tensor output = a.new_matrices(c, c);
    const std::optional<Tensor> means = means_if(centered, a, a.x);
    ProductsArguments<E> p = products(a.x, a.x, a.weights, true);
    p.x_means = p.y_means = data<T>(means);
    ProductsLaunch<E, StoreMatrix<T>>(a, p).run({a.inverse, c, c, true, mutable_data<T>(output)}, nullptr);
    return output;
  });
}

Tensor cross_gram(const Tensor& x_, const Tensor& y_, const std::optional<Tensor> weight, int64_t normalize,
                  double divisor, bool centered) {
  check_pair(x_, y_, "cross_gram");
  const DeviceGuard guard(x_);
  return dispatch_on_device(x_, "cross_gram", [&](auto element) {
    using E = decltype(element);
    using T = accumulate_t<E>;
    Arguments<E> a(x_, weight, normalize, divisor, x_.size(1), "cross_gram");
    sum_weights(a);
    const Tensor y_memory = readable(y_);
    const Features<E> y(y_memory);
    Tensor output = a.new_matrices(a.x.channels, y.channels);
    const std::optional<Tensor> x_means = means_if(centered, a, a.x), y_means = means_if(centered, a, y);
    ProductsArguments<E> p = products(a.x, y, a.weights, false);
    p.x_means = data<T>(x_means), p.y_means = data<T>(y_means);
    ProductsLaunch<E, StoreMatrix<T>>(a, p).run({a.inverse, a.x.channels, y.channels, false, mutable_data<T>(output)},
                                                nullptr);
    return output;
  });
}

std::tuple<Tensor, Tensor> gram_mse(const Tensor& x_, const Tensor& target_, const std::optional<Tensor> weight,
                                    int64_t normalize, double divisor, bool centered) {
  check_features(x_, "gram_mse");
  const DeviceGuard guard(x_);
  return dispatch_on_device(x_, "gram_mse", [&](auto element) {
    using E = decltype(element);
    using T = accumulate_t<E>;
    Arguments<E> a(x_, weight, normalize, divisor, x_.size(1), "gram_mse");
    const int64_t c = a.x.channels, matrices = a.matrices();
    check_matrices(target_, x_, a.regions(), c, c, true, "gram_mse");
    sum_weights(a);
    const Tensor target = torch::stable::contiguous(target_);
    const int64_t targets = std::max<int64_t>(1, target.size(0) * a.regions());
    Tensor difference = a.new_matrices(c, c);
    const std::array<int64_t, 2> shape = {a.x.batch, a.regions()};
    Tensor squares = torch::stable::new_empty(x_, shape, a.accumulation);
    const std::optional<Tensor> means = means_if(centered, a, a.x);
    ProductsArguments<E> p = products(a.x, a.x, a.weights, true);
    p.x_means = p.y_means = data<T>(means);
    ProductsLaunch<E, StoreDifference<T>> launcher(a, p);
    const Tensor totals = a.workspace(matrices * launcher.totals_per_matrix(), ScalarType::Double);
    launcher.run({a.inverse, c, data<T>(target), targets, mutable_data<T>(difference)}, mutable_data<double>(totals));
    launch(total_kernel<T>, matrices, dim3(kTotalThreads), a.stream, data<double>(totals), launcher.totals_per_matrix(),
           mutable_data<T>(squares));
    return std::make_tuple(squares, difference);
  });
}

// Applies value(n * R + r, i, j) / Z, i a channel of the result and j one of x, to the weighted centred features. The
// result has the layout of x.
template <typename E, typename Value>
Tensor mix_channels(Arguments<E>& a, int64_t channels, bool centered, const Value& value) {
  using T = accumulate_t<E>;
  const int64_t n = a.x.batch, c = a.x.channels, m = a.x.pixels, total = a.matrices() * c * channels;
  sum_weights(a);
  Tensor output = a.last ? torch::stable::new_empty(a.memory, {n, m, channels})
                         : torch::stable::new_empty(a.memory, {n, channels, m});
  if (output.numel() > 0) {
    const Tensor mixing = a.workspace(total, a.accumulation);
    launch(mixing_kernel<T, Value, InverseDivisors<T>>, divide_up(total, kThreads), dim3(kThreads), a.stream, value,
           a.inverse, c, channels, total, mutable_data<T>(mixing));
    const std::optional<Tensor> means = means_if(centered, a, a.x);
    const ApplyArguments<E> p = {data<T>(mixing),         a.x,      a.weights, data<T>(means),
                                 mutable_data<E>(output), channels, a.last};
    launch(choose_apply_kernel(p), n * divide_up(channels, kTile) * divide_up(m, kTile), dim3(kThreads), a.stream, p);
  }
  return a.last ? torch::stable::transpose(output, 1, 2) : output;
}

Tensor gram_backward(const Tensor& grad_, const Tensor& x_, const std::optional<Tensor> weight, int64_t normalize,
                     double divisor, bool centered) {
  check_features(x_, "_gram_backward");
  const DeviceGuard guard(x_);
  return dispatch_on_device(x_, "_gram_backward", [&](auto element) {
    using E = decltype(element);
    using T = accumulate_t<E>;
    Arguments<E> a(x_, weight, normalize, divisor, x_.size(1), "_gram_backward");
    const int64_t c = a.x.channels;
    check_matrices(grad_, x_, a.regions(), c, c, false, "_gram_backward");
    const Tensor grad = torch::stable::contiguous(grad_);
    return mix_channels(a, c, centered, SymmetricFactor<T>{data<T>(grad), c});
  });
}

Tensor cross_gram_backward(const Tensor& grad_, const Tensor& y_, const std::optional<Tensor> weight, int64_t normalize,
                           double divisor, bool centered) {
  check_features(y_, "_cross_gram_backward");
  STD_TORCH_CHECK(grad_.dim() == 4, "_cross_gram_backward: grad must have 4 dimensions, got ", grad_.dim());
  const DeviceGuard guard(y_);
  return dispatch_on_device(y_, "_cross_gram_backward", [&](auto element) {
    using E = decltype(element);
    using T = accumulate_t<E>;
    const int64_t c = grad_.size(2), d = y_.size(1);
    Arguments<E> a(y_, weight, normalize, divisor, c, "_cross_gram_backward");
    check_matrices(grad_, y_, a.regions(), c, d, false, "_cross_gram_backward");
    const Tensor grad = torch::stable::contiguous(grad_);
    return mix_channels(a, c, centered, PlainFactor<T>{data<T>(grad), c, d});
  });
}

Tensor gram_mse_backward(const Tensor& grad_, const Tensor& difference_, const Tensor& x_, const Tensor&,
                         const std::optional<Tensor> weight, int64_t normalize, double divisor, bool centered) {
  check_features(x_, "_gram_mse_backward");
  const DeviceGuard guard(x_);
  return dispatch_on_device(x_, "_gram_mse_backward", [&](auto element) {
    using E = decltype(element);
    using T = accumulate_t<E>;
    Arguments<E> a(x_, weight, normalize, divisor, x_.size(1), "_gram_mse_backward");
    const int64_t c = a.x.channels;
    check_matrices(difference_, x_, a.regions(), c, c, false, "_gram_mse_backward");
    check_loss_gradient(grad_, x_, a.regions(), "_gram_mse_backward");
    const Tensor grad = torch::stable::contiguous(grad_), difference = torch::stable::contiguous(difference_);
    return mix_channels(a, c, centered, LossFactor<T>{data<T>(grad), data<T>(difference), c});
  });
}

}  // namespace
}  // namespace cnnfast::gram

CNNFAST_CUDA_LIBRARY(m) {
  using namespace cnnfast::gram;
  m.impl("gram", TORCH_BOX(&gram));
  m.impl("_gram_backward", TORCH_BOX(&gram_backward));
  m.impl("cross_gram", TORCH_BOX(&cross_gram));
  m.impl("_cross_gram_backward", TORCH_BOX(&cross_gram_backward));
  m.impl("gram_mse", TORCH_BOX(&gram_mse));
  m.impl("_gram_mse_backward", TORCH_BOX(&gram_mse_backward));
}
