#!/usr/bin/env bash
# What is compiled for AVX2 and AVX-512 lies only in functions of Highway's per-target namespaces (N_AVX2, N_AVX3...).
# Anywhere else it would run on processors without it: in an inline function, of which the linker keeps whichever copy
# comes first, and in the initialisation of a global, which runs before anything is asked.
#   tests/simd_stays_in_its_namespace.sh PATH/TO/libconvnext.a
set -euo pipefail
library=${1:?usage: tests/simd_stays_in_its_namespace.sh LIBRARY}
if [[ $(objdump -f "$library" | grep -m1 architecture) != *x86-64* ]]; then
  echo "simd: not x86-64, where the baseline has no AVX: nothing to check"
  exit 0
fi

# Names of the functions on standard input (objdump -dr, AT&T syntax) that use what x86-64's baseline does not have,
# outside those namespaces, and of initialisations that call what is inside. VEX and EVEX begin with v (verr, verw and
# vm* are others); then there are mask registers, tiles, the scalar extensions that come with AVX2 in Highway's targets, and
# SSE3 to SSE4.2.
strays() {
  awk '
    BEGIN {
      vex = "^v"
      not_vex = "^(verr|verw|vm(call|launch|resume|xo|clear|ptrld|ptrst|read|write|func|run|load|save|mcall))"
      mask = "^k(add|and|mov|not|or|shift|test|unpck|xnor|xor)"
      tiles = "^((ld|st)tilecfg|tile(loadd|stored|zero|release)|tdp)"
      scalar = "^(andn|bextr|blsi|blsr|blsmsk|bzhi|mulx|pdep|pext|rorx|sarx|shlx|shrx|lzcnt|popcnt|movbe|adcx|adox|crc32)[bwlq]?$"
      sse = "^(pshufb|palignr|pabs[bwd]|psign[bwd]|phadd|phsub|pmulhrsw|pmaddubsw|pmulld|pmuldq|pmin(sb|sd|uw|ud)|" \
            "pmax(sb|sd|uw|ud)|pblend|blend|ptest|pmov[sz]x|pextr[bdq]|pinsr[bdq]|insertps|extractps|round[ps][sd]|" \
            "dpp[sd]|movddup|movs[lh]dup|haddp|hsubp|addsubp|lddqu|packusdw|pcmp(eqq|gtq|.str)|aes|pclmul)"
    }
    /^[0-9a-f]+ <.*>:$/ {
      name = $0
      initialises = /_GLOBAL__|__static_initialization/
      inside = /N_AVX[0-9]/ && !initialises
      next
    }
    (!inside && (($2 ~ vex && $2 !~ not_vex) || $2 ~ mask || $2 ~ tiles || $2 ~ scalar || $2 ~ sse)) ||
    (initialises && /R_X86_64_PLT32|call/ && /N_AVX[0-9]/) {
      if (name != last) print name
      last = name
    }'
}
disassemble() { objdump --disassemble --reloc --demangle --no-show-raw-insn "$1" 2>/dev/null; }

# The check can fail: it finds each of these, and nothing else.
probe=$(mktemp -d)
trap 'rm -rf "$probe"' EXIT
cat >"$probe/probe.cc" <<'END'
#include <immintrin.h>
inline __attribute__((noinline)) unsigned baseline(unsigned a, unsigned b) { return a << b; }
#ifdef __clang__
#pragma clang attribute push(__attribute__((target("avx2,fma,bmi2,popcnt"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2,fma,bmi2,popcnt")
#endif
inline __attribute__((noinline)) __m256 stray_vector(__m256 a) { return _mm256_fmadd_ps(a, a, a); }
inline __attribute__((noinline)) unsigned stray_scalar(unsigned a, unsigned b) { return a << b; }
#define TILES __attribute__((noinline, target("amx-tile")))
inline TILES void stray_tiles(const void* shapes) { asm volatile("ldtilecfg (%0)" : : "r"(shapes)); }
template <class T> __attribute__((noinline)) T stray_template(T a) { return a + __builtin_popcount(a); }
namespace N_AVX2 {
extern float seed;
float lanes[8];
struct Fill { Fill() { _mm256_storeu_ps(lanes, _mm256_set1_ps(seed)); } } stray_initialisation;
void own(float* a) { _mm256_storeu_ps(a, stray_vector(_mm256_loadu_ps(a))); }
TILES void own_tiles(const void* shapes) { asm volatile("ldtilecfg (%0)" : : "r"(shapes)); stray_tiles(shapes); }
unsigned own_scalar(unsigned a, unsigned b) { return (a >> b) + stray_scalar(a, b) + stray_template(a); }
}
#ifdef __clang__
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif
unsigned other(unsigned a) { return baseline(a, a); }
END
"${CXX:-c++}" -O2 -c "$probe/probe.cc" -o "$probe/probe.o"
disassemble "$probe/probe.o" | strays >"$probe/found"
for name in stray_vector stray_scalar stray_tiles stray_template _GLOBAL__sub_I; do
  grep -q "$name" "$probe/found" || { echo "the check itself is broken: it does not find $name"; exit 1; }
done
[[ $(wc -l <"$probe/found") -eq 5 ]] || { echo "the check itself is broken: it finds"; cat "$probe/found"; exit 1; }

disassemble "$library" >"$probe/code"
# grep fails when it counts none; the next line says so.
count=$(grep -cE '^[0-9a-f]+ <.*N_AVX[0-9]' "$probe/code" || true)
[[ $count -gt 20 ]] || { echo "$library has only $count functions for AVX: is it the library?"; exit 1; }
found=$(strays <"$probe/code")
[[ -z $found ]] || {
  printf 'these functions have code for AVX2 or better and can run where there is none:\n%s\n' "$found"
  exit 1
}

# By nm: the functions that the linker shares between objects (W, V, u) and that an object with such code defines. All
# were looked at above; none at all would mean that the names are no longer what this test takes them for.
shared=$(nm --defined-only --demangle "$library" 2>/dev/null | awk '
  /^[^ ]*\.o:$/ { if (fast) total += weak; fast = weak = 0; next }
  / N_AVX[0-9]|::N_AVX[0-9]/ { fast = 1; next }
  $2 ~ /^[WVu]$/ { ++weak }
  END { print total + (fast ? weak : 0) }')
[[ $shared -gt 0 ]] || { echo "no object with AVX code defines an inline function: is nm's output another now?"; exit 1; }
echo "simd: the AVX code of $library lies in $count functions of its own namespaces;" \
  "none of the $shared inline functions beside them has any"
