// 3x3 convolutions on the CPU: checks that protect memory, allocation.
#include <algorithm>
#include <cstdint>
#include <optional>
#include <vector>

#include "convolution/winograd.h"
#include "core/tensors.h"

namespace cnnfast::convolution {
namespace {

void check(const Tensor& tensor, const Tensor& x, int64_t dimensions, const char* name) {
  STD_TORCH_CHECK(tensor.dim() == dimensions, "_convolution3x3: ", name, " must have ", dimensions, " dimensions, got ",
                  tensor.dim());
  STD_TORCH_CHECK(tensor.scalar_type() == ScalarType::Float, "_convolution3x3: ", name, " must be float32");
  STD_TORCH_CHECK(same_device(tensor, x), "_convolution3x3: ", name, " must be on the device of x");
}

Tensor convolution3x3(const Tensor& x_, const Tensor& weight_, const std::optional<Tensor> bias_, int64_t padding,
                      bool transposed) {
  check(x_, x_, 4, "x");
  check(weight_, x_, 4, "weight");
  STD_TORCH_CHECK(weight_.size(2) == 3 && weight_.size(3) == 3, "_convolution3x3: weight must be (O, I, 3, 3)");
  const int64_t inputs = weight_.size(transposed ? 0 : 1), outputs = weight_.size(transposed ? 1 : 0);
  STD_TORCH_CHECK(x_.size(1) == inputs, "_convolution3x3: x must have ", inputs, " channels, got ", x_.size(1));
  STD_TORCH_CHECK(inputs % kChannelPanel == 0 && outputs % kChannelPanel == 0,
                  "_convolution3x3: channels must be multiples of ", kChannelPanel, ", got ", inputs, " and ", outputs);
  STD_TORCH_CHECK(padding >= 0 && padding <= 2, "_convolution3x3: padding must be 0, 1 or 2, got ", padding);
  const int64_t height = x_.size(2) + 2 * padding - 2, width = x_.size(3) + 2 * padding - 2;
  STD_TORCH_CHECK(height >= 0 && width >= 0, "_convolution3x3: x must not be smaller than the weights");
  std::vector<float> bias(outputs, 0.0f);
  if (bias_) {
    check(*bias_, x_, 1, "bias");
    STD_TORCH_CHECK(bias_->size(0) == outputs, "_convolution3x3: bias must have ", outputs, " values, got ",
                    bias_->size(0));
    const Tensor given = torch::stable::contiguous(*bias_);
    std::copy_n(data<float>(given), outputs, bias.begin());
  }
  Tensor output = new_maps(x_, outputs, height, width);
  if (output.numel() > 0) {
    const Tensor x = torch::stable::contiguous(x_, MemoryFormat::ChannelsLast);
    const Tensor weight = torch::stable::contiguous(weight_, MemoryFormat::ChannelsLast);
    const int64_t tap = weight.size(1), filter = 9 * tap;
    const ConvolutionShape shape{x.size(0), x.size(2), x.size(3), inputs, height, width, outputs, padding};
    WinogradConvolution(shape, data<float>(x), data<float>(weight) + (transposed ? 8 * tap : 0),
                        transposed ? WeightStrides{filter, 1, -tap} : WeightStrides{1, filter, tap}, bias.data(),
                        mutable_data<float>(output))
        .run();
  }
  return output;
}

}  // namespace
}  // namespace cnnfast::convolution

STABLE_TORCH_LIBRARY_IMPL(cnnfast, CPU, m) {
  m.impl("_convolution3x3", TORCH_BOX(&cnnfast::convolution::convolution3x3));
}
