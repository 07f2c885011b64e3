#!/usr/bin/env bash
# Goldens are the bytes that were reviewed: every file in tests/goldens is listed in SHA256SUMS there with its hash.
set -euo pipefail
cd "$(dirname "$0")/goldens"
[[ -f SHA256SUMS ]] || { echo "tests/goldens/SHA256SUMS is missing: run make goldens"; exit 1; }

sha256sum --check --strict --quiet SHA256SUMS
listed=$(sed -E 's/^[0-9a-f]{64} [ *](\.\/)?//' SHA256SUMS | LC_ALL=C sort)
present=$(find . -type f ! -name SHA256SUMS -printf '%P\n' | LC_ALL=C sort)
unlisted=$(comm -13 <(echo "$listed") <(echo "$present"))
[[ -z $unlisted ]] || { printf 'not in SHA256SUMS:\n%s\n' "$unlisted"; exit 1; }
echo "goldens: $(wc -l <<<"$listed") files are as pinned"
