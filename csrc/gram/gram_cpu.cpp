// The Gram family on the CPU: checks that protect memory, allocation, the choice of the element type.
#include <optional>
#include <tuple>
#include <vector>

#include "core/allocation.h"
#include "core/dispatch.h"
#include "core/tensors.h"
#include "gram/apply.h"
#include "gram/checks.h"
#include "gram/divisors.h"
#include "gram/gram_math.h"
#include "gram/products.h"
#include "gram/table.h"

namespace cnnfast::gram {
namespace {

// Everything about x that the operators share; keeps contiguous copies alive.
template <typename E>
struct Arguments {
  using T = accumulate_t<E>;

  std::optional<Tensor> weight_memory;
  Features<E> x;
  PixelWeights<T> weights;
  std::vector<double> inverse;  // 1 / Z, per image and region

  Arguments(const Tensor& x_, const std::optional<Tensor>& weight, int64_t normalize, double divisor,
            int64_t normalizing_channels, const char* name)
      : weight_memory(checked_weight(x_, weight, name)),
        x(x_),
        weights(weight_memory ? &*weight_memory : nullptr),
        inverse(inverse_divisors(weights, Normalize(normalize), divisor, x.batch, normalizing_channels, x.pixels)) {
    check_normalize(normalize, name);
  }

  int64_t regions() const { return weights.regions; }

  Tensor new_matrices(const Tensor& x_, int64_t rows, int64_t columns) const {
    return new_result("gram", x_, {x.batch, regions(), rows, columns}, accumulation_type(x_));
  }
};

// mu (N, R, C): the weighted mean of every channel, as the product of the features with the weights.
template <typename E>
std::vector<accumulate_t<E>> weighted_means(const Features<E>& x, const PixelWeights<accumulate_t<E>>& weights) {
  using T = accumulate_t<E>;
  const std::vector<double> inverse = inverse_divisors(weights, Normalize::hw, 1, x.batch, x.channels, x.pixels);
  std::vector<T> means(x.batch * weights.regions * x.channels);
  const T one = 1;
  const Features<T> ones(&one, x.batch, x.pixels);
  Products<E, T>(x, ones, weights, nullptr, nullptr, false).run([&](int64_t matrix, int64_t, const BlockSums& sums) {
    sums.for_each([&](int64_t i, int64_t, double sum) { means[matrix * x.channels + i] = T(sum * inverse[matrix]); });
  });
  return means;
}

template <typename E>
std::vector<accumulate_t<E>> means_if(bool centered, const Features<E>& x,
                                      const PixelWeights<accumulate_t<E>>& weights) {
  return centered ? weighted_means(x, weights) : std::vector<accumulate_t<E>>{};
}

template <typename T>
const T* pointer(const std::vector<T>& values) {
  return values.empty() ? nullptr : values.data();
}

Tensor gram(const Tensor& x_, const std::optional<Tensor> weight, int64_t normalize, double divisor, bool centered) {
  return dispatch(x_, "gram", [&](auto element) {
    using E = decltype(element);
    using T = accumulate_t<E>;
    const Arguments<E> a(x_, weight, normalize, divisor, x_.dim() > 1 ? x_.size(1) : 0, "gram");
    const int64_t c = a.x.channels;
    Tensor output = a.new_matrices(x_, c, c);
    T* out = mutable_data<T>(output);
    const std::vector<T> means = means_if(centered, a.x, a.weights);
    Products<E, E>(a.x, a.x, a.weights, pointer(means), pointer(means), true)
        .run([&](int64_t matrix, int64_t, const BlockSums& sums) {
          T* g = out + matrix * c * c;
          sums.for_each([&](int64_t i, int64_t j, double sum) {
            g[i * c + j] = g[j * c + i] = T(divided(sum, a.inverse[matrix]));
          });
        });
    return output;
  });
}

Tensor cross_gram(const Tensor& x_, const Tensor& y_, const std::optional<Tensor> weight, int64_t normalize,
                  double divisor, bool centered) {
  check_pair(x_, y_, "cross_gram");
  return dispatch(x_, "cross_gram", [&](auto element) {
    using E = decltype(element);
    using T = accumulate_t<E>;
    const Arguments<E> a(x_, weight, normalize, divisor, x_.size(1), "cross_gram");
    const Features<E> y(y_);
    const int64_t c = a.x.channels, d = y.channels;
    Tensor output = a.new_matrices(x_, c, d);
    T* out = mutable_data<T>(output);
    const std::vector<T> x_means = means_if(centered, a.x, a.weights), y_means = means_if(centered, y, a.weights);
    Products<E, E>(a.x, y, a.weights, pointer(x_means), pointer(y_means), false)
        .run([&](int64_t matrix, int64_t, const BlockSums& sums) {
          sums.for_each([&](int64_t i, int64_t j, double sum) {
            out[(matrix * c + i) * d + j] = T(divided(sum, a.inverse[matrix]));
          });
        });
    return output;
  });
}

std::tuple<Tensor, Tensor> gram_mse(const Tensor& x_, const Tensor& target_, const std::optional<Tensor> weight,
                                    int64_t normalize, double divisor, bool centered) {
  return dispatch(x_, "gram_mse", [&](auto element) {
    using E = decltype(element);
    using T = accumulate_t<E>;
    const Arguments<E> a(x_, weight, normalize, divisor, x_.dim() > 1 ? x_.size(1) : 0, "gram_mse");
    const int64_t c = a.x.channels, regions = a.regions(), matrices = a.x.batch * regions;
    check_matrices(target_, x_, regions, c, c, true, "gram_mse");
    const Tensor target = torch::stable::contiguous(target_);
    const T* t = data<T>(target);
    const int64_t targets = target.size(0) == 1 ? regions : std::max<int64_t>(matrices, 1);
    Tensor difference = a.new_matrices(x_, c, c);
    Tensor squares = torch::stable::new_empty(x_, {a.x.batch, regions}, accumulation_type(x_));
    T* out = mutable_data<T>(difference);
    T* loss = mutable_data<T>(squares);
    const std::vector<T> means = means_if(centered, a.x, a.weights);
    const Products<E, E> products(a.x, a.x, a.weights, pointer(means), pointer(means), true);
    std::vector<double> partial(matrices * products.pairs());
    products.run([&](int64_t matrix, int64_t pair, const BlockSums& sums) {
      const T* wanted = t + matrix % targets * c * c;
      T* s = out + matrix * c * c;
      double total = 0;
      sums.for_each([&](int64_t i, int64_t j, double sum) {
        const double g = divided(sum, a.inverse[matrix]);
        const double above = g - double(wanted[i * c + j]), below = g - double(wanted[j * c + i]);
        total += i == j ? above * above : above * above + below * below;
        s[i * c + j] = s[j * c + i] = T(0.5 * (above + below));
      });
      partial[matrix * products.pairs() + pair] = total;
    });
    for (int64_t matrix = 0; matrix < matrices; ++matrix) {
      double total = 0;
      for (int64_t pair = 0; pair < products.pairs(); ++pair) total += partial[matrix * products.pairs() + pair];
      loss[matrix] = T(total);
    }
    return std::make_tuple(squares, difference);
  });
}

// Applies factor(n, r) * mix(n, r)[i][j], i an output channel and j a channel of x, to the weighted centred features.
// The result has the layout of x.
template <typename E, typename Mix>
Tensor mix_channels(const Tensor& x_, const Arguments<E>& a, int64_t channels, bool centered, const Mix& mix) {
  using T = accumulate_t<E>;
  const int64_t n = a.x.batch, regions = a.regions(), c = a.x.channels;
  const Mixing<T> mixing(n, regions * c, channels, kernels().of<E>().lanes);
  for (int64_t matrix = 0; matrix < n * regions; ++matrix) {
    T* rows = mixing.data.get() + matrix * c * mixing.stride;
    for (int64_t j = 0; j < c; ++j)
      for (int64_t i = 0; i < channels; ++i) rows[j * mixing.stride + i] = mix(matrix, i, j);
  }
  const std::vector<T> means = means_if(centered, a.x, a.weights);
  const bool last = a.x.channels_last();
  const std::vector<int64_t> size = {n, last ? a.x.pixels : channels, last ? channels : a.x.pixels};
  Tensor output = new_result("gram", x_, size);
  Application<E>(mixing, a.x, a.weights, pointer(means), mutable_data<E>(output)).run();
  return last ? torch::stable::transpose(output, 1, 2) : output;
}

Tensor gram_backward(const Tensor& grad_, const Tensor& x_, const std::optional<Tensor> weight, int64_t normalize,
                     double divisor, bool centered) {
  return dispatch(x_, "_gram_backward", [&](auto element) {
    using E = decltype(element);
    using T = accumulate_t<E>;
    const Arguments<E> a(x_, weight, normalize, divisor, x_.dim() > 1 ? x_.size(1) : 0, "_gram_backward");
    const int64_t c = a.x.channels;
    check_matrices(grad_, x_, a.regions(), c, c, false, "_gram_backward");
    const Tensor grad = torch::stable::contiguous(grad_);
    const T* g = data<T>(grad);
    return mix_channels(x_, a, c, centered, [&](int64_t matrix, int64_t i, int64_t j) {
      const T* r = g + matrix * c * c;
      return T(divided(double(r[i * c + j]) + double(r[j * c + i]), a.inverse[matrix]));
    });
  });
}

Tensor cross_gram_backward(const Tensor& grad_, const Tensor& y_, const std::optional<Tensor> weight, int64_t normalize,
                           double divisor, bool centered) {
  STD_TORCH_CHECK(grad_.dim() == 4, "_cross_gram_backward: grad must have 4 dimensions, got ", grad_.dim());
  return dispatch(y_, "_cross_gram_backward", [&](auto element) {
    using E = decltype(element);
    using T = accumulate_t<E>;
    const int64_t c = grad_.size(2);
    const Arguments<E> a(y_, weight, normalize, divisor, c, "_cross_gram_backward");
    const int64_t d = a.x.channels;
    check_matrices(grad_, y_, a.regions(), c, d, false, "_cross_gram_backward");
    const Tensor grad = torch::stable::contiguous(grad_);
    const T* g = data<T>(grad);
    return mix_channels(y_, a, c, centered, [&](int64_t matrix, int64_t i, int64_t j) {
      return T(divided(double(g[(matrix * c + i) * d + j]), a.inverse[matrix]));
    });
  });
}

Tensor gram_mse_backward(const Tensor& grad_, const Tensor& difference_, const Tensor& x_, const Tensor&,
                         const std::optional<Tensor> weight, int64_t normalize, double divisor, bool centered) {
  return dispatch(x_, "_gram_mse_backward", [&](auto element) {
    using E = decltype(element);
    using T = accumulate_t<E>;
    const Arguments<E> a(x_, weight, normalize, divisor, x_.dim() > 1 ? x_.size(1) : 0, "_gram_mse_backward");
    const int64_t c = a.x.channels;
    check_matrices(difference_, x_, a.regions(), c, c, false, "_gram_mse_backward");
    check_loss_gradient(grad_, x_, a.regions(), "_gram_mse_backward");
    const Tensor grad = torch::stable::contiguous(grad_), difference = torch::stable::contiguous(difference_);
    const T* gamma = data<T>(grad);
    const T* s = data<T>(difference);
    return mix_channels(x_, a, c, centered, [&](int64_t matrix, int64_t i, int64_t j) {
      return T(divided(4 * double(gamma[matrix]) * double(s[matrix * c * c + j * c + i]), a.inverse[matrix]));
    });
  });
}

}  // namespace
}  // namespace cnnfast::gram

STABLE_TORCH_LIBRARY_IMPL(cnnfast, CPU, m) {
  using namespace cnnfast::gram;
  m.impl("gram", TORCH_BOX(&gram));
  m.impl("_gram_backward", TORCH_BOX(&gram_backward));
  m.impl("cross_gram", TORCH_BOX(&cross_gram));
  m.impl("_cross_gram_backward", TORCH_BOX(&cross_gram_backward));
  m.impl("gram_mse", TORCH_BOX(&gram_mse));
  m.impl("_gram_mse_backward", TORCH_BOX(&gram_mse_backward));
}
