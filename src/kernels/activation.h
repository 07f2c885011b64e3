// The activations of model/config.h, element by element.
//
//   GELU       x / 2 * (1 + erf(x / sqrt(2)))
//   GELU tanh  x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))
//   SiLU       x / (1 + exp(-x))
//
// The fast GELU is the erf form: max(x, 0) - |x| q(|x|), with q a polynomial of degree 17 for the normal distribution's
// upper tail on [0, 5.6], beyond which gelu is within 6e-8 of max(x, 0). Its absolute error is below 3e-7 for
// |x| <= 5.6 and one rounding of x above; near zero it is exact to 4e-7 of the result. NaN stays NaN.
#pragma once

#include <cstddef>
#include <span>

#include "kernels/isa.h"
#include "model/config.h"

namespace convnext {

namespace ref {

// In place, in float64.
void activation(Activation kind, std::span<float> values);

}  // namespace ref

namespace cpu {

// In place. Any count, any alignment.
using ActivationFunction = void (*)(Activation kind, float* values, std::size_t count);
ActivationFunction activation_for(Isa isa);

}  // namespace cpu
}  // namespace convnext
