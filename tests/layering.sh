#!/usr/bin/env bash
# Nothing points up: a file of src/ includes only from its own folder and from those above it in the order below, public
# headers include only public headers and the standard library, and no header of the runtime shows a third-party one.
#   tests/layering.sh           checks this source tree, after checking that each rule can fail
set -euo pipefail
cd "$(dirname "$0")/.."

layers=(core io image model metrics kernels engine nn plot train detect)
with_torch=' nn train detect '                    # their headers may show libtorch's
with_highway='src/kernels/cpu/'  # SIMD code that Highway compiles once for each instruction set is in headers here

# violations TREE: prints a line for each include that breaks a rule.
violations() (
  cd "$1"
  shopt -s nullglob globstar
  # Each include as "file:line:header", with its brackets or quotes.
  includes() {
    [[ $# -eq 0 ]] || grep -nHE '^[[:space:]]*#[[:space:]]*include' "$@" |
      sed -E 's/^([^:]*:[0-9]+):[[:space:]]*#[[:space:]]*include[[:space:]]*([<"][^>"]*[>"]?).*/\1:\2/' || true
  }
  # third_party: of the includes on standard input, those that neither the standard library nor the system has.
  third_party() {
    grep -E ':<([^>/]+/|(png|pngconf|jpeglib|jerror|turbojpeg|zip|benchmark)\.h)' | grep -vE ':<(sys|linux)/' || true
  }

  for ((place = 0; place < ${#layers[@]}; place++)); do
    layer=${layers[place]}
    allowed="convnext|$(IFS='|'; echo "${layers[*]:0:place+1}")"
    files=(src/"$layer"/**/*.h src/"$layer"/**/*.cc)
    includes "${files[@]}" | grep -E ':"' | grep -vE ":\"($allowed)/" |
      sed "s|\$| is not of $layer or a folder above it|" || true
    if [[ $with_torch != *" $layer "* ]]; then
      includes "${files[@]}" | grep -E ':<(torch|ATen|c10)/' | sed 's|$| is libtorch in the runtime|' || true
      includes src/"$layer"/**/*.h | third_party | grep -vE "^$with_highway.*:<hwy/" |
        sed 's|$| is third-party in a header|' || true
    fi
  done
  includes include/**/*.h | grep -E ':"' | grep -vE ':"convnext/' | sed 's|$| is not a public header|' || true
  includes include/**/*.h | third_party | sed 's|$| is third-party in a public header|' || true
  for folder in src/*/; do
    [[ " ${layers[*]} " == *" $(basename "$folder") "* ]] || echo "$folder has no place in the order of layers"
  done
)

# must_fail PATH LINE: a tree with this one line is refused.
must_fail() {
  local tree
  tree=$(mktemp -d)
  mkdir -p "$tree/$(dirname "$1")"
  echo "$2" >"$tree/$1"
  local found
  found=$(violations "$tree")
  rm -rf "$tree"
  [[ $found == "$1"* || $found == src/*" has no place"* ]] || {
    echo "layering: the check itself is broken: $2 in $1 passed"
    exit 1
  }
}
must_fail src/core/arena.h '#include "io/npy.h"'
must_fail src/io/npy.cc '#include "engine/backend.h"'
must_fail src/kernels/cpu/linear.cc '  #  include "nn/network.h"'
must_fail src/engine/plan.cc '#include "apps/print.h"'
must_fail src/engine/plan.cc '#include "plan.h"'
must_fail src/engine/plan.cc '#include <torch/torch.h>'
must_fail src/io/picture.h '#include <png.h>'
must_fail src/model/card.h '#include <nlohmann/json.hpp>'
must_fail src/kernels/cpu/linear.h '#include <fmt/format.h>'
must_fail src/kernels/linear.h '#include <hwy/highway.h>'
must_fail include/convnext/image.h '#include "image/resize.h"'
must_fail include/convnext/image.h '#include <fmt/format.h>'
must_fail src/utils/strings.cc '#include <string>'

found=$(violations .)
[[ -z $found ]] || {
  echo "$found"
  exit 1
}
echo "layering: ${layers[*]} include only upwards"
