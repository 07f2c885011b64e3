// Where a number stopped being one.
#pragma once

#include <cstddef>
#include <span>
#include <string>

#include "nn/network.h"
#include "train/dataset.h"

namespace convnext {

// The first thing that is not finite, looked for in the order in which it would spread: a picture, a parameter, the
// output of a stage, the pooled features, the logits. `pictures`: as the network got them, (n, 3, h, w); `samples`:
// their numbers in `source`, which has their names.
std::string where_not_finite(Network& network, const torch::Tensor& pictures, std::span<const std::size_t> samples,
                             const PictureSource& source);

}  // namespace convnext
