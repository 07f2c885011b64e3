#!/bin/sh
# Makes tests/goldens again, from PyTorch, timm and Pillow: tools/make_goldens.sh [formula|networks|training|pictures|augmentation]...
#
# Without arguments all parts. They run in an environment of their own, build/goldens, which is made on first use from
# tools/goldens/requirements.txt; PYTHON=/path/to/python takes another one. Two runs on one machine give the same bytes.
# Another machine may round a last bit differently: then compare before committing.
set -eu
cd "$(dirname "$0")/.."

if [ -z "${PYTHON:-}" ]; then
  PYTHON=build/goldens/bin/python
  if ! cmp -s tools/goldens/requirements.txt build/goldens/requirements.txt; then
    python3 -m venv --clear build/goldens
    "$PYTHON" -m pip install --quiet --requirement tools/goldens/requirements.txt
    cp tools/goldens/requirements.txt build/goldens/  # last: an environment without it is not whole
  fi
fi

# Math libraries that split their sums over the threads they find would make the bits depend on the machine's size.
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0

[ $# -gt 0 ] || set -- formula networks training pictures augmentation
for part in "$@"; do
  "$PYTHON" "tools/goldens/$part.py"
done

cd tests/goldens
find . -type f ! -name "SHA256SUMS*" | sed 's|^\./||' | LC_ALL=C sort | xargs sha256sum > SHA256SUMS.new
mv SHA256SUMS.new SHA256SUMS
