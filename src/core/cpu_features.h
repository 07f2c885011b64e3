// What the processor, and the system that has to save its registers, let this process execute.
//
// Highway can tell too, but its library measures a timer whenever a process loads it, which takes 7 ms.
#pragma once

#include <cstddef>

namespace convnext {

struct CpuFeatures {
  bool avx2 = false;         // x86: what Highway's AVX2 is compiled for: with FMA, BMI, BMI2, LZCNT, F16C, AES, CLMUL
  bool avx512 = false;       // x86: the same and AVX-512 F, VL, DQ, BW, CD
  bool avx512_vnni = false;  // x86: the same and dot products of 8-bit integers
  bool avx512_bf16 = false;  // x86: avx512 and dot products of bfloat16
  bool amx = false;          // x86: the three before and AMX's tiles of 8-bit integers and of bfloat16
  bool neon = false;         // 64-bit Arm: always
};

// Of this machine; found out once. Linux lets a process use AMX when it has asked, which this does: from then on its
// threads have 8 KB more of registers, in memory only once they use them.
const CpuFeatures& cpu_features();

// Of a core, as the system tells; 512 KB where it does not.
std::ptrdiff_t second_level_cache_bytes();

}  // namespace convnext
