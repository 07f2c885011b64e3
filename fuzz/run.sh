#!/usr/bin/env bash
# Builds the fuzzers and runs them, each from the seeds of the goldens and from what earlier runs have found:
#   fuzz/run.sh SECONDS [NAME...]     so long each; all of them, or those of these names (fuzz/NAME.cc)
# The first input that breaks a fuzzer's rules is kept in build/fuzz/found, ends the run, and is tried again by
# build/fuzz/bin/fuzz_NAME FILE.
set -euo pipefail
cd "$(dirname "$0")/.."

seconds=${1:?usage: fuzz/run.sh SECONDS [NAME...]}
shift
[[ $# -gt 0 ]] || set -- safetensors pytorch pickle zip npy card claims coco tar jpeg png webp preprocess

build=build/fuzz
cmake --preset fuzz >/dev/null
cmake --build --preset fuzz --target fuzzers
rm -rf $build/seeds
$build/bin/fuzz_seeds . $build/seeds
mkdir -p $build/found

for name in "$@"; do
  mkdir -p "$build/corpus/$name"
  options=(-max_total_time="$seconds" -timeout=10 -rss_limit_mb=2048 -malloc_limit_mb=1024 -print_final_stats=1
    -artifact_prefix="$build/found/$name-")
  case $name in pickle | pytorch) options+=(-dict=fuzz/pytorch.dict) ;; esac
  log=$build/found/$name.log
  "$build/bin/fuzz_$name" "${options[@]}" "$build/corpus/$name" "$build/seeds/$name" >"$log" 2>&1 || {
    tail -40 "$log"
    echo "fuzz: $name broke a rule; see $log"
    exit 1
  }
  echo "fuzz: $name ran $(sed -n 's/^stat::number_of_executed_units: *//p' "$log") inputs in $seconds s"
done
