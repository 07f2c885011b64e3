// Models whose file keeps weights as 8-bit integers: "NAME" of type I8 with "NAME_scale" (F32, one an output) beside
// it, a weight being integer * scale. Those are the weights of blocks' linears and of the downsampling convolutions,
// which the engine multiplies as integers (kernels/quantize.h); the head's are BF16, all else is F32.
#pragma once

#include <map>
#include <string>

#include "io/tensor_file.h"
#include "model/weights.h"

namespace convnext {

// The precision that the card of such a file states.
inline constexpr std::string_view kInt8Precision = "int8";

// The weights rounded to what such a file can hold, as floats: computing with these is computing with it.
WeightStore rounded_to_int8(const WeightStore& weights);

// The tensors of such a file, from weights that rounded_to_int8() gave.
std::map<std::string, Tensor> int8_tensors(const WeightStore& rounded);

// Each I8 tensor of a safetensors file that has a scale becomes F32, and the scale goes. Throws Error (kDamaged) for a
// scale that is not F32, one an output.
void restore_int8(TensorFile& file);

}  // namespace convnext
