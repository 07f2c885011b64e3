#!/usr/bin/env bash
# Installs what a build on Debian 12 needs and does not have yet; where everything is there, it takes no time.
#   tools/setup.sh runtime       the light packages that `make demo` builds with
#   tools/setup.sh everything    these, the tools of `make test` and .ci/run, and libtorch in build/libtorch (1.2 GB)
#   tools/setup.sh aarch64       the cross compiler, an emulator and the libraries of 64-bit Arm, for the preset aarch64;
#                                Debian only, and apt then knows arm64 packages too
# Packages come from apt as root or through sudo. With LIBTORCH_ROOT set, that libtorch is used and none is fetched.
set -euo pipefail
cd "$(dirname "$0")/.."

# level, package, what it is for
packages='
runtime     g++               compiles it
runtime     cmake             configures the build
runtime     ninja-build       runs the build
runtime     pkg-config        tells CMake where the libraries below are
runtime     ccache            makes building again a matter of seconds
runtime     mold              links the programs in a second
runtime     libhwy-dev        Highway: SIMD kernels, chosen for the processor at run time
runtime     libjpeg-dev       libjpeg-turbo: reads JPEG
runtime     libpng-dev        reads and writes PNG
runtime     libwebp-dev       reads WebP
runtime     libzip-dev        reads PyTorch files, which are zip archives
runtime     zlib1g-dev        zlib: built-in labels, checksums of checkpoints
runtime     nlohmann-json3-dev  reads and writes JSON: model cards, --json
runtime     libfmt-dev        formats messages
runtime     libcli11-dev      parses command lines
everything  libgtest-dev      GoogleTest: the unit tests
everything  libgmock-dev      GoogleMock: its matchers
everything  libbenchmark-dev  Google Benchmark: the programs in bench/
everything  libcairo2-dev     cairo: draws what a detector finds onto pictures
everything  libjemalloc-dev   jemalloc: the memory of training
everything  gnuplot-nox       draws the charts of training runs; they go on without it
everything  clang             the second compiler of .ci/run
everything  clang-format      make format, make lint
everything  clang-tidy        make lint
everything  python3-venv      fetches libtorch; the programs run without Python
aarch64     g++-aarch64-linux-gnu  compiles for 64-bit Arm
aarch64     qemu-user         runs what it compiled
aarch64     libhwy-dev:arm64    for 64-bit Arm
aarch64     libjpeg-dev:arm64   for 64-bit Arm
aarch64     libpng-dev:arm64    for 64-bit Arm
aarch64     libwebp-dev:arm64   for 64-bit Arm
aarch64     libzip-dev:arm64    for 64-bit Arm
aarch64     zlib1g-dev:arm64    for 64-bit Arm
aarch64     libfmt-dev:arm64    for 64-bit Arm
aarch64     libgtest-dev:arm64  for 64-bit Arm
aarch64     libgmock-dev:arm64  for 64-bit Arm
'
libtorch=build/libtorch

fail() {
  echo "setup: $*" >&2
  exit 1
}

# retry COMMAND...: three tries, for what goes over a network.
retry() {
  local attempt
  for attempt in 1 2; do
    "$@" && return
    echo "setup: '$1' failed; trying again in $((attempt * 10)) s" >&2
    sleep $((attempt * 10))
  done
  "$@"
}

# as_root COMMAND...
as_root() {
  if [[ $(id -u) -eq 0 ]]; then "$@"; else sudo "$@"; fi
}

# install_packages LEVEL: those of the level and of the runtime.
install_packages() {
  local level package reason missing=() installed native
  command -v dpkg-query >/dev/null || fail "this script knows Debian and Ubuntu only; it would install:$packages"
  native=$(dpkg --print-architecture)
  installed=" $(dpkg-query -W -f='${db:Status-Status} ${Package}:${Architecture}\n' |
    sed -nE "s/:($native|all)\$//; s/^installed //p" | tr '\n' ' ') "
  while read -r level package reason; do
    [[ $level == runtime || $level == "$1" ]] || continue
    [[ $installed == *" $package "* ]] && continue
    echo "setup: installing $package ($reason)"
    missing+=("$package")
  done <<<"$packages"
  [[ ${#missing[@]} -gt 0 ]] || return 0

  [[ $(id -u) -eq 0 ]] || command -v sudo >/dev/null ||
    fail "installing needs root: run 'apt-get install --no-install-recommends ${missing[*]}' as root, then try again"
  if [[ ${missing[*]} == *:arm64* ]]; then as_root dpkg --add-architecture arm64; fi
  retry as_root apt-get update -qq
  retry as_root env DEBIAN_FRONTEND=noninteractive \
    apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
}

install_libtorch() {
  if [[ -n ${LIBTORCH_ROOT:-} ]]; then
    echo "setup: libtorch is $LIBTORCH_ROOT"
    return
  fi
  local stamp=$libtorch/installed.txt
  cmp -s tools/libtorch.txt "$stamp" && return
  echo "setup: installing libtorch in $libtorch (560 MB to fetch, 1.2 GB on disk)"
  # The distribution's own Python: tools/libtorch.txt has hashes for its version.
  rm -rf "$libtorch"
  /usr/bin/python3 -m venv "$libtorch"
  retry "$libtorch/bin/pip" install --quiet --no-deps --no-compile --only-binary :all: --require-hashes \
    -r tools/libtorch.txt
  cp tools/libtorch.txt "$stamp"
}

case ${1:-} in
  runtime)
    install_packages runtime
    ;;
  everything)
    install_packages everything
    install_libtorch
    ;;
  aarch64)
    [[ $(uname -m) != aarch64 ]] || fail "this machine is 64-bit Arm itself: its own compiler builds for it"
    install_packages aarch64
    ;;
  *)
    sed -n 2,7p "$0" >&2
    exit 2
    ;;
esac
echo "setup: the build has what it needs ($1)"
