// Where a number stopped being one.
#pragma once

#include <string>

#include "nn/network.h"
#include "train/loader.h"

namespace convnext {

// The first thing that is not finite, looked for in the order in which it would spread: a picture, a parameter, the
// output of a stage, the pooled features, the logits. `source` gives the names of pictures.
std::string where_not_finite(Network& network, const Batch& batch, const PictureSource& source);

}  // namespace convnext
