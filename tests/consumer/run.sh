#!/usr/bin/env bash
# Installs a build into an empty folder, moves the folder, and uses the library from there as a stranger would: with
# find_package(convnext) and with pkg-config.
#   tests/consumer/run.sh BUILD_FOLDER
set -euo pipefail
build=$(realpath "${1:?usage: tests/consumer/run.sh BUILD_FOLDER}")
source=$(realpath "$(dirname "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

fail() {
  echo "consumer: $*" >&2
  exit 1
}

cmake --install "$build" --prefix "$work/installed" >"$work/log" ||
  { cat "$work/log" >&2; fail "$build cannot be installed"; }
mv "$work/installed" "$work/moved"

# A 1x1 picture of the colour (255, 128, 0), 69 bytes of PNG.
base64 -d >"$work/orange.png" <<<'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP438AAAAQBAYDFKhhdAAAAAElFTkSuQmCC'
# (255, 128, 0) / 255, less ImageNet's mean, over its standard deviation.
expected='1x1 picture, first pixel 2.2489 0.2052 -1.8044'

check() {
  local line
  line=$("$2" "$work/orange.png") || fail "$1: the program failed"
  [[ $line == "$expected" ]] || fail "$1: printed '$line' and not '$expected'"
  echo "consumer: $1: $line"
}

cmake -S "$source" -B "$work/build" -G Ninja -DCMAKE_PREFIX_PATH="$work/moved" >"$work/log" &&
  cmake --build "$work/build" >>"$work/log" ||
  { cat "$work/log" >&2; fail "does not build with find_package(convnext)"; }
check "find_package(convnext)" "$work/build/consumer"

pc=$(find "$work/moved" -name convnext.pc -printf '%h')
read -ra flags <<<"$(PKG_CONFIG_PATH="$pc" pkg-config --cflags --libs convnext)"
c++ -std=c++20 -o "$work/consumer" "$source/consumer.cc" "${flags[@]}" "-Wl,-rpath,$(dirname "$pc")"
check "pkg-config" "$work/consumer"

# Nothing that was installed may lead back to the place where it was built.
"$work/moved/bin/convnext" --version >/dev/null || fail "bin/convnext does not run"
for program in "$work"/moved/bin/*; do
  ! readelf -d "$program" | grep -E 'R(UN)?PATH' | grep -qF -e "$build" -e "$(realpath "$source/../..")" ||
    fail "$program looks for libraries in the build's own folders"
done
