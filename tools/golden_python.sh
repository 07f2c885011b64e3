#!/bin/sh
# Prints the path of a Python that has the reference implementations, for goldens and comparisons. On first use it makes
# an environment of its own, build/goldens, from tools/goldens/requirements.txt; PYTHON=/path/to/python takes another one.
set -eu
cd "$(dirname "$0")/.."

if [ -z "${PYTHON:-}" ]; then
  PYTHON=build/goldens/bin/python
  if ! cmp -s tools/goldens/requirements.txt build/goldens/requirements.txt; then
    python3 -m venv --clear build/goldens >&2
    "$PYTHON" -m pip install --quiet --requirement tools/goldens/requirements.txt >&2
    cp tools/goldens/requirements.txt build/goldens/ # last: an environment without it is not whole
  fi
fi
echo "$PYTHON"
