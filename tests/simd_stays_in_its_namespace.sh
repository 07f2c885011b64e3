#!/usr/bin/env bash
# Code for AVX2 and AVX-512 lies only in functions of Highway's per-target namespaces (N_AVX2, N_AVX3). Anywhere else,
# and in particular in an inline function that the linker shares between objects, it would run on processors without it.
#   tests/simd_stays_in_its_namespace.sh PATH/TO/libconvnext.a
set -euo pipefail
library=${1:?usage: tests/simd_stays_in_its_namespace.sh LIBRARY}
if [[ $(objdump -f "$library" | grep -m1 architecture) != *x86-64* ]]; then
  echo "simd: not x86-64, where the baseline has no AVX: nothing to check"
  exit 0
fi

# Names of the functions on standard input (objdump -d) that use a VEX or EVEX instruction outside those namespaces.
# In AT&T syntax these are the instructions that begin with v; verr, verw and vm* are the exceptions.
strays() {
  awk '/^[0-9a-f]+ <.*>:$/ { name = $0; inside = /N_AVX[23]/; next }
       !inside && $2 ~ /^v/ && $2 !~ /^(verr|verw|vm(call|launch|resume|xo|clear|ptrld|ptrst|read|write|func|run|load|save|mcall))/ {
         if (name != last) print name
         last = name
       }'
}
disassemble() { objdump --disassemble --demangle --no-show-raw-insn "$1" 2>/dev/null; }

# The check can fail: a shared inline function compiled for AVX2 is found.
probe=$(mktemp -d)
trap 'rm -rf "$probe"' EXIT
cat >"$probe/probe.cc" <<'END'
#pragma GCC target("avx2,fma")
#include <immintrin.h>
inline __attribute__((noinline)) __m256 stray(__m256 a) { return _mm256_fmadd_ps(a, a, a); }
namespace N_AVX2 { void own(float* a) { _mm256_storeu_ps(a, stray(_mm256_loadu_ps(a))); } }
END
"${CXX:-c++}" -O2 -c "$probe/probe.cc" -o "$probe/probe.o"
[[ $(disassemble "$probe/probe.o" | strays) == *stray* ]] || { echo "the check itself is broken"; exit 1; }

count=$(disassemble "$library" | grep -cE '^[0-9a-f]+ <.*N_AVX[23]' || true)
[[ $count -gt 20 ]] || { echo "$library has only $count functions for AVX: is it the library?"; exit 1; }
found=$(disassemble "$library" | strays)
[[ -z $found ]] || {
  printf 'these functions have AVX code and can run where there is none:\n%s\n' "$found"
  exit 1
}
echo "simd: the AVX code of $library lies in $count functions of its own namespaces"
