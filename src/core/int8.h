// Weights as 8-bit integers.
#pragma once

#include <cstdint>
#include <span>

namespace convnext {

// value_i = round(w_i / scale), ties to even, with scale = max |w| / 64, which is returned; 0 for zeros and what is
// next to them (below 1e-36), and NaN when there is a NaN or an infinity. Integers go to 64 and not to 127 for the sake
// of kernels/quantize.h; that 64 is a power of two makes it exact to round twice: value * scale has the same integers
// and the same scale.
float quantize_weights(std::span<const float> weights, std::span<std::int8_t> values);

}  // namespace convnext
