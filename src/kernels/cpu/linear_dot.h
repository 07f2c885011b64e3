// Linears on x86 processors with instructions for whole dot products: VNNI, AVX512_BF16, AMX.
#pragma once

#include "core/cpu_features.h"
#include "kernels/isa.h"
#include "kernels/linear.h"

namespace convnext::cpu {

// Null for an instruction set that has none of them.
LinearFunction linear_dot_for(Isa isa, const CpuFeatures& features);

}  // namespace convnext::cpu
