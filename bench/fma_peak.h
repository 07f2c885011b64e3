// What the arithmetic units of this machine do when nothing holds them up: the roof that times are held against.
#pragma once

#include "kernels/isa.h"

namespace convnext {

// GFLOP/s of fused multiply-adds in registers on one thread, from a burst of about 5 ms.
double fma_peak(Isa isa);

}  // namespace convnext
