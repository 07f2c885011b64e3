// Activations as 8-bit integers, for linears whose weights are.
//
//   low = min(0, min x), high = max(0, max x), scale = (high - low) / 255, zero = round(-low / scale)
//   q = clamp(round(x / scale + zero), 0, 255), so that x is about (q - zero) * scale
//
// over each run of kQuantizedInputs inputs of a row (the last may be shorter): scales are of the moment, none is
// calibrated, and no other row has a part in them. Zero is exact. A run with a NaN or an infinity, or whose range is
// one, gets the scale NaN, and its integers mean nothing. Rounding is to nearest, ties to even.
//
// Weights are integers of -64..64 times a scale an output (core/int8.h): 7 bits and a sign, so that the sum of two
// products, up to 2 * 255 * 64, stays within 16 bits, where processors without a dot product for bytes add it up. So
// nothing saturates, and from the same activations all instruction sets have the same integers.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/isa.h"

namespace convnext {

inline constexpr int kQuantizedInputs = 384;
// A run whose values span less is all zeros: 255 / range would be no number.
inline constexpr float kLeastRange = 1e-30f;

constexpr std::ptrdiff_t quantized_runs(std::ptrdiff_t inputs) {
  return (inputs + kQuantizedInputs - 1) / kQuantizedInputs;
}

// What the integers of a run stand for.
struct QuantizedRun {
  float scale = 0;
  std::int32_t zero = 0;
};

namespace ref {

// in (rows, inputs), values (rows, inputs), runs (rows, quantized_runs(inputs)).
void quantize(int inputs, std::span<const float> in, std::span<std::uint8_t> values, std::span<QuantizedRun> runs);

}  // namespace ref

namespace cpu {

struct QuantizedRows {
  std::uint8_t* values = nullptr;  // (rows, inputs rounded up to a multiple of 64), `stride` apart
  std::ptrdiff_t stride = 0;
  QuantizedRun* runs = nullptr;  // (rows, runs), `run_stride` apart
  std::ptrdiff_t run_stride = 0;
};

using QuantizeFunction = void (*)(std::int64_t rows, int inputs, const float* in, std::ptrdiff_t in_stride,
                                  const QuantizedRows& out);
QuantizeFunction quantize_for(Isa isa);

}  // namespace cpu
}  // namespace convnext
