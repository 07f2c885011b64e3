#!/usr/bin/env bash
# The tests of kernels and whole networks that the preset aarch64 built, under qemu-user: what runs is NEON's code, and it
# agrees with the scalar reference.
#   tests/runs_on_neon.sh build/aarch64/bin
set -euo pipefail
bin=${1:?usage: tests/runs_on_neon.sh FOLDER}
emulate() { qemu-aarch64 "$@"; }
fail() {
  echo "neon: $*"
  exit 1
}

# Fused multiply-adds of four lanes in the functions of its namespace, and no other instruction set to run instead.
fused=$(aarch64-linux-gnu-objdump --disassemble --demangle "$bin/engine_test" |
  awk '/^[0-9a-f]+ <.*>:$/ { inside = /N_NEON/ } inside && /fmla.*\.4s/ { ++count } END { print count + 0 }')
[[ $fused -gt 1000 ]] || fail "there are only $fused fused multiply-adds in NEON's functions"
for program in kernels_test engine_test precision_test; do
  isas=$(emulate "$bin/$program" --gtest_list_tests | sed -nE 's:^  .*/(avx[a-z0-9_]*|neon|portable)(_bf16|_int8)?( .*|$):\1:p' | sort -u)
  [[ $isas == neon ]] || fail "$program has tests of '${isas//$'\n'/ }', not of neon"
done

# The emulator has no madvise() that gives memory back; tests of many threads and of wide networks take it long.
# Two programs at a time.
{
  emulate "$bin/kernels_test" --gtest_brief=1
  emulate "$bin/accuracy_test" --gtest_brief=1
  emulate "$bin/precision_test" --gtest_brief=1 --gtest_filter='-*EveryRegisteredNetwork*:*AnyNumberOfThreads*'
} &
others=$!
CONVNEXT_ISA=neon emulate "$bin/engine_test" --gtest_brief=1 \
  --gtest_filter='All/*:Isas/*:IsaChoice.*:-*_nano*:*_tiny*:*_small:*_base:*large*:*huge:*GivesTheFilesMemoryBack*:*FromManyThreads*:*NoOtherThread*'
wait $others
echo "neon: kernels and networks in every precision agree with the reference, on $fused fused multiply-adds"
