#!/bin/sh
# Writes the tables of docs/models.md again, from the program: tools/models_document.sh [PROGRAM]
set -eu
cd "$(dirname "$0")/.."
program=${1:-build/release/bin/convnext}
new=$(mktemp)
trap 'rm -f "$new"' EXIT
sed '/^### /,$d' docs/models.md >"$new"
"$program" list --published --markdown >>"$new"
cat "$new" >docs/models.md
