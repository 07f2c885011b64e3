// The size of a network's gradients, taken together.
#pragma once

#include <torch/torch.h>

#include <optional>
#include <string>

namespace convnext {

// The L2 norm of all gradients as one vector. Where it is above `max_norm`, they are scaled down to it:
//   gradient *= min(1, max_norm / (norm + 1e-6)), torch.nn.utils.clip_grad_norm_.
// `max_norm` 0 only measures. The result is the norm before; it is not finite when a gradient is not, and then the
// gradients are of no use.
double clip_gradients(torch::nn::Module& network, double max_norm);

// The name of the first parameter, in the network's order, whose gradient holds an infinity or a NaN.
std::optional<std::string> find_gradient_that_is_not_finite(const torch::nn::Module& network);

}  // namespace convnext
