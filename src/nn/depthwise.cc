#include "nn/depthwise.h"

#include <ATen/Parallel.h>
#include <ATen/autocast_mode.h>
#include <c10/core/impl/LocalDispatchKeySet.h>

#include "kernels/depthwise_gradient.h"
#include "kernels/isa.h"

namespace convnext {
namespace {

torch::Tensor convolve(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias) {
  return at::conv2d(x, weight, bias, /*stride=*/1, /*padding=*/weight.size(-1) / 2, /*dilation=*/1,
                    /*groups=*/weight.size(0));
}

torch::Tensor weight_gradient(const torch::Tensor& x, const torch::Tensor& out_gradient, const torch::Tensor& weight) {
  const DepthwiseGradientShape shape{.kernel = static_cast<int>(weight.size(-1)),
                                     .pictures = x.size(0),
                                     .height = x.size(2),
                                     .width = x.size(3),
                                     .channels = static_cast<int>(x.size(1))};
  torch::Tensor gradient = torch::empty(weight.sizes(), weight.options().memory_format(at::MemoryFormat::Contiguous));
  static const Isa isa = supported_isas().front();
  const auto kernel = cpu::depthwise_weight_gradient_for(isa);
  const std::int64_t piece = lanes(isa);
  const std::int64_t pieces = (shape.channels + piece - 1) / piece;
  at::parallel_for(0, pieces, 1, [&](std::int64_t first, std::int64_t last) {
    kernel(shape, x.const_data_ptr<float>(), out_gradient.const_data_ptr<float>(), static_cast<int>(first * piece),
           static_cast<int>(std::min<std::int64_t>(last * piece, shape.channels)), gradient.data_ptr<float>());
  });
  return gradient;
}

struct DepthwiseConvolution : torch::autograd::Function<DepthwiseConvolution> {
  static torch::Tensor forward(torch::autograd::AutogradContext* context, const torch::Tensor& x,
                               const torch::Tensor& weight, const torch::Tensor& bias) {
    context->save_for_backward({x, weight});
    const c10::impl::ExcludeDispatchKeyGuard without_autocast(c10::DispatchKey::AutocastCPU);
    return convolve(x, weight, bias);
  }

  static torch::autograd::variable_list backward(torch::autograd::AutogradContext* context,
                                                 const torch::autograd::variable_list& gradients) {
    const auto saved = context->get_saved_variables();
    const torch::Tensor& weight = saved[1];
    const torch::Tensor x = saved[0].contiguous(at::MemoryFormat::ChannelsLast);
    const torch::Tensor out_gradient = gradients[0].contiguous(at::MemoryFormat::ChannelsLast);
    torch::Tensor by_x, by_weight, by_bias;
    if (context->needs_input_grad(0)) by_x = convolve(out_gradient, weight.flip({2, 3}), {});
    if (context->needs_input_grad(1)) by_weight = weight_gradient(x, out_gradient, weight);
    if (context->needs_input_grad(2)) by_bias = out_gradient.sum({0, 2, 3});
    return {by_x, by_weight, by_bias};
  }
};

}  // namespace

torch::Tensor depthwise_convolution(const torch::Tensor& x, const torch::Tensor& weight, const torch::Tensor& bias) {
  // Under autocast in float32 too: it is the matrix products that gain from bfloat16, and libtorch's depthwise layers
  // in that type are slower.
  const bool ours = x.device().is_cpu() && at::GradMode::is_enabled() &&
                    (x.scalar_type() == torch::kFloat32 || at::autocast::is_autocast_enabled(at::kCPU));
  if (!ours) return convolve(x, weight, bias);
  const torch::Tensor in = x.to(torch::kFloat32);
  // A function of ours cannot be given a tensor that is not there.
  return DepthwiseConvolution::apply(in, weight, bias.defined() ? bias : torch::zeros({weight.size(0)}, in.options()));
}

}  // namespace convnext
