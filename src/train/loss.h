// What training makes small.
#pragma once

#include <torch/torch.h>

namespace convnext {

// Cross entropy with label smoothing (Szegedy et al. 2016), the mean over the batch:
//   (1 - s) * -log p(target) + s * mean over classes of -log p(class).
// `logits` (n, classes), `targets` (n,) int64.
torch::Tensor smoothed_cross_entropy(const torch::Tensor& logits, const torch::Tensor& targets, double smoothing);

// Cross entropy with a distribution over the classes for each picture (mixed_targets()), the mean over the batch:
//   sum over classes of -target(class) * log p(class).
// `logits` and `targets` (n, classes).
torch::Tensor soft_cross_entropy(const torch::Tensor& logits, const torch::Tensor& targets);

}  // namespace convnext
