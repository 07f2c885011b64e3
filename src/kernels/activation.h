// The activations of model/config.h, element by element.
//
//   GELU       x / 2 * (1 + erf(x / sqrt(2)))
//   GELU tanh  x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 x^3)))
//   SiLU       x / (1 + exp(-x))
//
// The fast GELU is the erf form, with erf(x / sqrt(2)) as x times a quotient of polynomials in x^2 on [-5.2, 5.2], or,
// with AVX-512, as one of 16 polynomials in |x|, whose terms a permutation picks: a quarter less time, and no division.
// Beyond it is max(x, 0). NaN stays NaN.
//
// The coarse GELU stands in for it in linears whose products are of 8 bits or of bfloat16 (kernels/linear.h): what it
// gives is rounded to as much before it is multiplied again, and half the operations are half the time. Shorter
// polynomials on [-4.2, 4.2], below which it is nothing or stays as it is there.
//
// Largest errors of the fast versions on any instruction set, against float64, over the floats of a range (checked, as
// the tables of the other kernels, by tests/accuracy_test.cc):
//
//   gelu        -inf    -5.2    6e-7    absolute
//   gelu        -5.2    -1      1.2e-6  absolute
//   gelu        -1      -1e-37  5       ulp
//   gelu        1e-37   1       2.5     ulp
//   gelu        1       inf     3.5     ulp
//   coarse_gelu -inf    -4.2    2e-4    absolute
//   coarse_gelu -4.2    4.2     2e-4    absolute
//   coarse_gelu 4.2     3e38    5e-5    of |x|
//   gelu_tanh   -inf    -1e30   8e-39   of |x|
//   gelu_tanh   -1e30   -4      8e-9    absolute
//   gelu_tanh   -4      -1e-37  7e-8    absolute
//   gelu_tanh   1e-37   inf     2.5     ulp
//   silu        -inf    -1e30   8e-39   of |x|
//   silu        -1e30   -20     8e-9    absolute
//   silu        -20     -1e-37  3       ulp
//   silu        1e-37   inf     2.5     ulp
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

using CoarseGeluFunction = void (*)(float* values, std::size_t count);
CoarseGeluFunction coarse_gelu_for(Isa isa);

}  // namespace cpu
}  // namespace convnext
