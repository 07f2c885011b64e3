#!/bin/sh
# Makes tests/goldens again, from PyTorch, timm and Pillow:
#   tools/make_goldens.sh [PART]...
#
# PART is a program of tools/goldens: networks, layouts, ...; without arguments all are run. The Python is that of
# tools/golden_python.sh. Two runs on one machine give the same bytes. Another machine may round a last bit differently:
# then compare before committing.
set -eu
cd "$(dirname "$0")/.."

PYTHON=$(tools/golden_python.sh)

# Math libraries that split their sums over the threads they find would make the bits depend on the machine's size.
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE=1 PYTHONHASHSEED=0

if [ $# -eq 0 ]; then
  set -- formula networks training pictures augmentation pytorch_files cards layouts
  set -- "$@" vision_transformers regnets_and_efficientnets resnets coco detection detector_parts detectors
  set -- "$@" detector_files
fi
for part in "$@"; do
  "$PYTHON" "tools/goldens/$part.py"
done

cd tests/goldens
find . -type f ! -name "SHA256SUMS*" | sed 's|^\./||' | LC_ALL=C sort | xargs sha256sum > SHA256SUMS.new
mv SHA256SUMS.new SHA256SUMS
