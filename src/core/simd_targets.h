// For files that are compiled once for each instruction set, before any of Highway's headers: which of its targets
// they are compiled for.
#pragma once

// Every target costs compile time and code in every kernel. Processors with SSE4 and no AVX2 are rare enough to take
// the portable target; AVX3_DL adds nothing that we use to AVX3; vectors of SVE have no size at compile time, so that
// no array of sums can hold them, and NEON runs wherever SVE does. The portable target cannot be left out: it is
// Highway's baseline on x86.
#define HWY_DISABLED_TARGETS (HWY_SSSE3 | HWY_SSE4 | HWY_AVX3_DL | HWY_SVE | HWY_SVE2 | HWY_SVE_256 | HWY_SVE2_128)
