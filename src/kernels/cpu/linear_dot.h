// Linears on x86 processors with instructions for whole dot products: VNNI, AVX512_BF16, AMX.
#pragma once

#include "core/cpu_features.h"
#include "kernels/isa.h"
#include "kernels/linear.h"

namespace convnext::cpu {

// Null for an instruction set that has none of them.
LinearFunction linear_dot_for(Isa isa, const CpuFeatures& features);

// Throws Error (kInvalidArgument) for a call that wants what it gives rounded, in bfloat16_out, and cannot have it:
// with kResidual, or without all inputs. It would be a wrong number without a word.
void require_roundable(const PackedLinear& op, const LinearCall& call);

}  // namespace convnext::cpu
