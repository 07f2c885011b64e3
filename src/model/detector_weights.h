// The weights that a fresh detector begins with.
#pragma once

#include <cstdint>

#include "model/detector.h"
#include "model/weights.h"

namespace convnext {

// As mmdetection begins, keyed as random_weights() of a network. `backbone`: weights by their names in a network of
// their own, of which those of the head are left out; without, the backbone is random_weights()'s with layer scale 1.
// Around it: what proposes and scores normal with deviation 0.01, the deltas of boxes 0.001; the pyramid and the
// linears uniform (Glorot and Bengio 2010), convolutions of heads normal (He et al. 2015, fan out); biases 0, norms 1.
// Throws Error (kMismatch) with the first tensor that `backbone` lacks or has in another shape.
WeightStore random_weights(const DetectorConfig& config, std::uint64_t seed, const WeightStore* backbone = nullptr);

}  // namespace convnext
