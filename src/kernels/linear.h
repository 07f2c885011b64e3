// Linear layer (nn.Linear; a 1x1 convolution is the same), and what follows it.
//
//   out(m, n) = f(bias(n) + sum over k of in(m, k) * weight(n, k))
//
// with f nothing, an activation (the coarse GELU of kernels/activation.h where products are of fewer bits than
// float32), or the addition of residual(m, n). Cost M * N * K multiply-adds: 95 % of a ConvNeXt.
//
// The fast version keeps a tile of rows x columns of sums in registers (AVX2 6 x 16, of integers 5 x 16; AVX-512 and
// NEON 8 rows x 3 vectors; AMX 32 x 32 in four of its tiles) and runs over all the inputs of a call: the weights of the
// columns lie in one panel, read from front to back. The tile is stored before f is applied to it: with f on the same
// array, g++ spills the sums inside the loop. Every output is one chain of operations in the order of K, wherever it
// lies in a tile. Where the processor multiplies bfloat16, inputs are rounded to it too (kernels/narrow.h); elsewhere
// weights of that format are widened a piece of a panel at a time, into the first-level cache, for all rows of a call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "core/cpu_features.h"
#include "kernels/aligned_floats.h"
#include "kernels/isa.h"
#include "kernels/narrow.h"
#include "kernels/quantize.h"
#include "model/config.h"

namespace convnext {

namespace ref {

// in (rows, inputs), weight (outputs, inputs), bias (outputs,), out (rows, outputs). Float64 sums.
void linear(int inputs, int outputs, std::span<const float> in, std::span<const float> weight,
            std::span<const float> bias, std::span<float> out);

}  // namespace ref

namespace cpu {

// How weights are kept.
enum class WeightFormat {
  kFloat32,
  kBfloat16,  // rounded to nearest, ties to even
  kInt8,      // -64..64 times a scale of the output's own (kernels/quantize.h)
};

// What is multiplied, and so what a call's inputs have to be. Sums are float32, of kInt8 integers.
enum class Products {
  kFloat32,   // LinearCall::in
  kBfloat16,  // LinearCall::bfloat16
  kInt8,      // LinearCall::quantized
};

// How weights lie for an instruction set.
struct LinearLayout {
  Products products = Products::kFloat32;
  int panel_columns = 0;   // at most
  int group = 1;           // inputs of a column that lie side by side, to be multiplied by one instruction
  int depth_multiple = 1;  // the inputs are rounded up to it, with zeros
};
LinearLayout linear_layout(Isa isa, WeightFormat format);

struct PackedLinear {
  int inputs = 0;
  int outputs = 0;
  WeightFormat format = WeightFormat::kFloat32;
  Products products = Products::kFloat32;
  int panel_columns = 0;  // of all panels but the last, which has what is left, rounded up to whole vectors
  int padded_inputs = 0;
  // Of these, the format's: panels, each (padded inputs / group, columns, group).
  AlignedFloats weight;
  AlignedArray<std::uint16_t> bfloat16;
  AlignedArray<std::int8_t> int8;
  AlignedFloats int8_sums;  // kInt8: (quantized runs, padded outputs), of the weights of a run
  AlignedFloats scale;      // kInt8: (padded outputs,)
  AlignedFloats bias;       // (padded outputs,)

  int panels() const {
    return panel_columns == 0 ? 0
                              : static_cast<int>((bias.size() + static_cast<std::size_t>(panel_columns) - 1) /
                                                 static_cast<std::size_t>(panel_columns));
  }
  // Weights of a panel for the inputs [first, last), which are multiples of a group.
  std::span<const std::byte> part_of_panel(int panel, int first, int last) const;
  std::uint64_t bytes() const {
    return weight.bytes() + bfloat16.bytes() + int8.bytes() + int8_sums.bytes() + scale.bytes() + bias.bytes();
  }
};

// weight (outputs, inputs), bias (outputs,). `scale`, when not empty, (outputs,): multiplies the output, folded into
// both (the layer scale of a block).
PackedLinear pack_linear(Isa isa, int inputs, int outputs, std::span<const float> weight, std::span<const float> bias,
                         std::span<const float> scale = {}, WeightFormat format = WeightFormat::kFloat32);

enum class Epilogue { kNone, kGelu, kGeluTanh, kSilu, kResidual };
Epilogue epilogue_of(Activation activation);

struct LinearCall {
  std::int64_t rows = 0;
  const float* in = nullptr;  // Products::kFloat32: (rows, inputs), in_stride floats apart
  std::ptrdiff_t in_stride = 0;
  float* out = nullptr;  // (rows, columns of the panels, whole vectors), out_stride floats apart
  std::ptrdiff_t out_stride = 0;
  Epilogue epilogue = Epilogue::kNone;
  const float* residual = nullptr;  // for kResidual: laid out as `out`, which it may not overlap
  int first_panel = 0;              // only the columns of these panels are computed, `out` begins with theirs
  int last_panel = 0;               // one past the end
  // Only the terms of these inputs are added: `in` begins with input `first_input`. From 0 the sums begin with the
  // bias, else with what is in `out`; f comes with the last input. So a product in several calls, in order, has the
  // bits of one call.
  int first_input = 0;
  int last_input = 0;  // one past the end
  // The same inputs for products of fewer bits; then `first_input` is a multiple of kQuantizedInputs.
  QuantizedRows quantized;
  Bfloat16Rows bfloat16;
  // When `values` is not null, and the products are of bfloat16: what f gives, rounded, goes there, and `out` is not
  // used. It begins with the same column. Only for calls of all inputs, and not for kResidual.
  Bfloat16Rows bfloat16_out;
  // Weights that the next call begins with: they are fetched while this one's last panel is multiplied.
  std::span<const std::byte> upcoming;
};

// A call for all outputs and inputs of `rows` rows.
inline LinearCall whole_linear(const PackedLinear& op, std::int64_t rows, const float* in, std::ptrdiff_t in_stride,
                               float* out, std::ptrdiff_t out_stride, Epilogue epilogue = Epilogue::kNone,
                               const float* residual = nullptr) {
  return {rows, in, in_stride, out, out_stride, epilogue, residual, 0, op.panels(), 0, op.inputs, {}, {}, {}, {}};
}
using LinearFunction = void (*)(const PackedLinear& op, const LinearCall& call);
// `features` may be fewer than the processor's: VNNI is a matter of theirs, not of the instruction set.
LinearFunction linear_for(Isa isa, const CpuFeatures& features = cpu_features());

}  // namespace cpu
}  // namespace convnext
