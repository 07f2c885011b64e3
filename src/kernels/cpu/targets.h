// For files that are compiled once for each instruction set, before any other of Highway's headers: how to choose among
// the functions that were compiled.
#pragma once

#include "core/simd_targets.h"

#if defined(__clang__)
#define CONVNEXT_UNROLL _Pragma("clang loop unroll(full)")
#define CONVNEXT_UNROLL_BY_4 _Pragma("clang loop unroll_count(4)")
#else
#define CONVNEXT_UNROLL _Pragma("GCC unroll 32")
#define CONVNEXT_UNROLL_BY_4 _Pragma("GCC unroll 4")
#endif

#include <hwy/targets.h>  // after core/simd_targets.h

// case labels of a switch over Isa that return &namespace::function for those that were compiled.
#if HWY_TARGETS & HWY_EMU128
#define CONVNEXT_CASE_PORTABLE(function) \
  case Isa::kPortable:                   \
    return &N_EMU128::function;
#elif HWY_TARGETS & HWY_SCALAR
#define CONVNEXT_CASE_PORTABLE(function) \
  case Isa::kPortable:                   \
    return &N_SCALAR::function;
#else
#define CONVNEXT_CASE_PORTABLE(function)
#endif
#if HWY_TARGETS & HWY_AVX2
#define CONVNEXT_CASE_AVX2(function) \
  case Isa::kAvx2:                   \
    return &N_AVX2::function;
#else
#define CONVNEXT_CASE_AVX2(function)
#endif
#if HWY_TARGETS & HWY_AVX3
#define CONVNEXT_CASE_AVX512(function) \
  case Isa::kAvx512:                   \
  case Isa::kAvx512Bf16:               \
  case Isa::kAmx:                      \
    return &N_AVX3::function;
#else
#define CONVNEXT_CASE_AVX512(function)
#endif
#if HWY_TARGETS & HWY_NEON
#define CONVNEXT_CASE_NEON(function) \
  case Isa::kNeon:                   \
    return &N_NEON::function;
#else
#define CONVNEXT_CASE_NEON(function)
#endif

// The body of x_for(isa): the function of that name in the namespace of that instruction set. Asking for one that
// supported_isas() does not offer is a defect of the caller.
#define CONVNEXT_RETURN_FOR(isa, function) \
  switch (isa) {                           \
    CONVNEXT_CASE_PORTABLE(function)       \
    CONVNEXT_CASE_AVX2(function)           \
    CONVNEXT_CASE_AVX512(function)         \
    CONVNEXT_CASE_NEON(function)           \
    default:                               \
      break;                               \
  }                                        \
  throw_not_compiled(#function, isa)
