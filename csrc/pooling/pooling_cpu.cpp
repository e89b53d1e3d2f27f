// 2x2 pooling behind a ReLU on the CPU: checks that protect memory, allocation, threads.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <tuple>

#include "core/parallel.h"
#include "core/tensors.h"
#include "pooling/table.h"

namespace cnnfast::pooling {
namespace {

void check(const Tensor& tensor, const char* function, const char* name) {
  STD_TORCH_CHECK(tensor.dim() == 4, function, ": ", name, " must have 4 dimensions, got ", tensor.dim());
  STD_TORCH_CHECK(tensor.scalar_type() == ScalarType::Float || tensor.scalar_type() == ScalarType::BFloat16, function,
                  ": ", name, " must be float32 or bfloat16");
  STD_TORCH_CHECK(tensor.size(1) % kChannelBlock == 0, function, ": channels must be a multiple of ", kChannelBlock,
                  ", got ", tensor.size(1));
}

template <typename F>
void with_kernels(const Tensor& x, const F& f) {
  if (x.scalar_type() == ScalarType::Float) {
    f(float{}, kernels().float32);
  } else {
    f(bfloat16_bits{}, kernels().bfloat16);
  }
}

std::tuple<Tensor, Tensor> relu_pool(const Tensor& x_, bool average) {
  check(x_, "_relu_pool2x2", "x");
  const int64_t batch = x_.size(0), channels = x_.size(1), height = x_.size(2) / 2, width = x_.size(3) / 2;
  Tensor pooled = new_maps(x_, channels, height, width);
  Tensor bits = torch::stable::empty({batch, height, width, channels}, ScalarType::Byte, std::nullopt, x_.device());
  if (pooled.numel() == 0) return {pooled, bits};
  const Tensor x = torch::stable::contiguous(x_, MemoryFormat::ChannelsLast);
  auto* codes = mutable_data<uint8_t>(bits);
  with_kernels(x, [&](auto element, const auto& simd) {
    using E = decltype(element);
    const int64_t row = x.size(3) * channels, pooled_row = width * channels;
    auto* out = mutable_data<E>(pooled);
    for_each_item(batch * height, worker_count(batch * height, x.numel()), [&](int64_t, int64_t item, int64_t) {
      const E* top = data<E>(x) + (item / height * x.size(2) + item % height * 2) * row;
      simd.pool_row(top, top + row, width, channels, average, out + item * pooled_row, codes + item * pooled_row);
    });
  });
  return {pooled, bits};
}

Tensor relu_pool_backward(const Tensor& grad_, const Tensor& bits_, int64_t height, int64_t width, bool average) {
  constexpr const char* name = "_relu_pool2x2_backward";
  check(grad_, name, "grad");
  const int64_t batch = grad_.size(0), channels = grad_.size(1), rows = grad_.size(2), columns = grad_.size(3);
  STD_TORCH_CHECK(height >= 0 && width >= 0 && height / 2 == rows && width / 2 == columns, name,
                  ": height and width must be those of an input of ", rows, "x", columns, " values, got ", height, "x",
                  width);
  STD_TORCH_CHECK(bits_.scalar_type() == ScalarType::Byte && same_device(bits_, grad_), name,
                  ": bits must be uint8, on the device of grad");
  STD_TORCH_CHECK(bits_.dim() == 4 && bits_.size(0) == batch && bits_.size(1) == rows && bits_.size(2) == columns &&
                      bits_.size(3) == channels,
                  name, ": bits must have the shape of grad, channels last");
  Tensor result = new_maps(grad_, channels, height, width);
  if (result.numel() == 0) return result;
  const Tensor grad = torch::stable::contiguous(grad_, MemoryFormat::ChannelsLast);
  const Tensor bits = torch::stable::contiguous(bits_);
  with_kernels(grad, [&](auto element, const auto& simd) {
    using E = decltype(element);
    const int64_t row = width * channels, pooled_row = columns * channels;
    auto* out = mutable_data<E>(result);
    // A last odd row is a separate item.
    const int64_t pairs = (height + 1) / 2;
    for_each_item(batch * pairs, worker_count(batch * pairs, result.numel()), [&](int64_t, int64_t item, int64_t) {
      const int64_t image = item / pairs, y = item % pairs;
      E* top = out + (image * height + 2 * y) * row;
      if (y == rows) {
        std::fill_n(top, row, E{});
        return;
      }
      const int64_t pooled = (image * rows + y) * pooled_row;
      simd.unpool_row(data<E>(grad) + pooled, data<uint8_t>(bits) + pooled, columns, channels, average, top, top + row);
      if (width % 2 == 1) {
        std::fill_n(top + row - channels, channels, E{});
        std::fill_n(top + 2 * row - channels, channels, E{});
      }
    });
  });
  return result;
}

}  // namespace
}  // namespace cnnfast::pooling

STABLE_TORCH_LIBRARY_IMPL(cnnfast, CPU, m) {
  m.impl("_relu_pool2x2", TORCH_BOX(&cnnfast::pooling::relu_pool));
  m.impl("_relu_pool2x2_backward", TORCH_BOX(&cnnfast::pooling::relu_pool_backward));
}
