// Activations as bfloat16, for linears whose products are.
//
// Rounded to nearest, ties to even. What is smaller than float32's least normal number becomes zero, as in the products
// themselves; NaN stays NaN.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/isa.h"

namespace convnext::cpu {

// AMX multiplies so many inputs at once; rows are filled up with zeros.
inline constexpr int kBfloat16Step = 32;

struct Bfloat16Rows {
  std::uint16_t* values = nullptr;  // (rows, inputs rounded up to a multiple of kBfloat16Step)
  std::ptrdiff_t stride = 0;        // values from one row to the next
};

// `in` may be read up to the next whole vector.
using NarrowFunction = void (*)(std::int64_t rows, int inputs, const float* in, std::ptrdiff_t in_stride,
                                const Bfloat16Rows& out);
// Only for instruction sets that multiply bfloat16: kAvx512Bf16 and kAmx.
NarrowFunction narrow_for(Isa isa);

}  // namespace convnext::cpu
