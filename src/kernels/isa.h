// The instruction sets that the kernels are compiled for. Each fast kernel is compiled once for each of them in one
// source file, into a namespace of its own; x_for(isa) then gives the function for one of them. The choice is the
// caller's and nothing global, so that executables for different instruction sets can live in one process.
#pragma once

#include <string_view>
#include <vector>

namespace convnext {

enum class Isa {
  kPortable,    // Highway's fallback, 1 or 4 lanes without intrinsics: for tests of other vector lengths, not for users
  kAvx2,        // x86: AVX2, FMA, BMI
  kAvx512,      // x86: AVX-512 F, BW, CD, DQ, VL; dot products of 8-bit integers (VNNI) where the processor has them
  kAvx512Bf16,  // x86: that with VNNI, and dot products of bfloat16
  kAmx,         // x86: that, and products of whole tiles of bfloat16 and of 8-bit integers
  kNeon,        // 64-bit Arm
};

// "avx2", "avx512", "avx512_bf16", "amx", "neon", "portable".
std::string_view name_of(Isa isa);

// Float32 lanes of a vector.
int lanes(Isa isa);

// Those that this build has code for and this machine can execute, best first.
std::vector<Isa> supported_isas();

// What x_for() does for an instruction set that this build has no code for: std::logic_error, since supported_isas()
// does not offer it.
[[noreturn]] void throw_not_compiled(std::string_view kernel, Isa isa);

}  // namespace convnext
