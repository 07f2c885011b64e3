// Models whose file keeps weights as 8-bit integers: "NAME" of type I8 with "NAME_scale" (F32, one an output) beside
// it, a weight being integer * scale. Those are the weights of blocks' linears and of the downsampling convolutions,
// which the engine multiplies as integers (kernels/quantize.h); the head's are BF16, all else is F32.
#pragma once

#include <map>
#include <string>

#include "io/tensor_file.h"
#include "model/layouts.h"
#include "model/weights.h"

namespace convnext {

// The precision that the card of such a file states.
inline constexpr std::string_view kInt8Precision = "int8";

// The weights rounded to what such a file holds. Rounding twice is rounding once.
WeightStore rounded_to_int8(const WeightStore& weights);

// The tensors of a file of weights as they are stored, scales beside their integers.
std::map<std::string, ConstTensorView> file_tensors(const WeightStore& weights);

// Takes the scales of a safetensors file's I8 tensors out of it: by the integers' names. Throws Error (kDamaged) for a
// scale that is not F32, one an output.
TensorViews take_scales(TensorFile& file);

}  // namespace convnext
