#!/usr/bin/env bash
# Installs a build into an empty folder, moves the folder, and uses the library from there as a stranger would: in C++ and
# in C, shared and static, with find_package(convnext) and with pkg-config. Says how large it is.
#   tests/consumer/run.sh BUILD_FOLDER
set -euo pipefail
build=$(realpath "${1:?usage: tests/consumer/run.sh BUILD_FOLDER}")
source=$(realpath "$(dirname "$0")")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
most_bytes=10000000

fail() {
  echo "consumer: $*" >&2
  exit 1
}

cmake --install "$build" --prefix "$work/installed" >"$work/log" ||
  { cat "$work/log" >&2; fail "$build cannot be installed"; }
mv "$work/installed" "$work/moved"
cd "$work"

# A 1x1 picture of the colour (255, 128, 0), 69 bytes of PNG.
base64 -d >orange.png <<<'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGP438AAAAQBAYDFKhhdAAAAAElFTkSuQmCC'
# (255, 128, 0) / 255, less ImageNet's mean, over its standard deviation; and what the installed program calls it.
label=$(moved/bin/convnext classify orange.png --model convnext_cifar10 --top-k 1 | sed -E 's/^orange\.png +(.*[^ ]) +[0-9.]+ %$/\1/')
expected="1x1 picture, first pixel 2.2489 0.2052 -1.8044
$label"

# check WHAT PROGRAM: it prints what is expected. A static library does not know where models are installed.
check() {
  local lines
  local models=
  [[ $1 != *static* ]] || models=$work/moved/share/convnext/models
  lines=$(CONVNEXT_MODELS=$models "$2" orange.png) || fail "$1: the program failed"
  [[ $lines == "$expected" ]] || fail "$1: printed '$lines' and not '$expected'"
  echo "consumer: $1: ${lines//$'\n'/, }"
}

# build_with_cmake SOURCES BUILD
build_with_cmake() {
  cmake -S "$1" -B "$2" -G Ninja -DCMAKE_PREFIX_PATH="$work/moved" >log && cmake --build "$2" >>log ||
    { cat log >&2; fail "does not build with find_package(convnext)"; }
}
build_with_cmake "$source/only_c" only_c
check "find_package(convnext), in C alone" only_c/only_c
build_with_cmake "$source" build
for library in convnext static; do
  for language in cc c; do check "find_package(convnext), convnext::$library, .$language" build/${library}_$language; done
done

PKG_CONFIG_PATH=$(find "$work/moved" -name convnext.pc -printf '%h')
export PKG_CONFIG_PATH
library_folder=$(dirname "$PKG_CONFIG_PATH")
for package in convnext convnext-static; do
  read -ra flags <<<"$(pkg-config --cflags --libs "$package")"
  flags+=(-Wall -Wextra -Werror "-Wl,-rpath,$library_folder")
  c++ -std=c++20 -o "$package-cc" "$source/consumer.cc" "${flags[@]}"
  check "pkg-config $package, .cc" "./$package-cc"
  cc -std=c11 -pedantic -o "$package-c" "$source/consumer.c" "${flags[@]}"
  check "pkg-config $package, .c" "./$package-c"
done
readelf -d convnext-c | grep -q 'NEEDED.*libconvnext\.so\.[0-9]' || fail "pkg-config convnext does not give the shared library"
! readelf -d convnext-static-c | grep -q 'NEEDED.*libconvnext' || fail "pkg-config convnext-static gives the shared library"

# Nothing that was installed may lead back to the place where it was built.
moved/bin/convnext --version >/dev/null || fail "bin/convnext does not run"
for program in moved/bin/*; do
  ! readelf -d "$program" | grep -E 'R(UN)?PATH' | grep -qF -e "$build" -e "$(realpath "$source/../..")" ||
    fail "$program looks for libraries in the build's own folders"
done

# The program, which has the library in itself, and the shared library, both stripped.
library=$(realpath "$(find "$work/moved" -name libconvnext.so)")
strip -o stripped-program moved/bin/convnext
strip -o stripped-library "$library"
program_bytes=$(stat -c %s stripped-program)
library_bytes=$(stat -c %s stripped-library)
echo "consumer: stripped, the program is $program_bytes bytes and $(basename "$library") $library_bytes"
((program_bytes + library_bytes < most_bytes)) || fail "that is $most_bytes bytes or more together"
