// What the arithmetic units of this machine do when nothing holds them up: the roof that times are held against.
#pragma once

#include "kernels/isa.h"

namespace convnext::cpu {

// Multiply-accumulates that a linear layer can be made of.
enum class Arithmetic {
  kFloat,  // fused multiply-adds
  kBf16,   // of bfloat16 into float32 where the instruction set multiplies them (AVX512_BF16, AMX); else as kFloat
  // Of 8 bits into 32: tiles with AMX, four by one instruction with VNNI, by three on other x86 (vpmaddubsw, vpmaddwd,
  // vpaddd). Two products of 16 bits elsewhere.
  kInt8,
};

// Billions of operations a second, two each multiply-accumulate, on one thread with all operands in registers, from a
// burst of a few milliseconds. What the instruction set lacks is measured as said above.
double measure_peak(Isa isa, Arithmetic arithmetic);

}  // namespace convnext::cpu
