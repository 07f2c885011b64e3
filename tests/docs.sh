#!/usr/bin/env bash
# Runs what the documents print: the sh blocks of each, in order, in a scratch copy of the project; and compiles the C++
# and C programs in them.    docs.sh PROGRAMS_FOLDER DRAW_PICTURES
# Blocks that cannot run here (they install, download or take long) are indented or fenced as something else.
set -euo pipefail
source=$PWD
programs=$1
draw=$2
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
export PATH=$programs:$PATH

# blocks FILE LANGUAGE: the contents of its fenced blocks.
blocks() {
  awk -v fence="^\`\`\`$2\$" '$0 ~ fence { inside = 1; next } /^```$/ { inside = 0 } inside' "$1"
}

failed=0
ran=0
for document in README.md docs/*.md; do
  commands=$(blocks "$document" sh)
  if [[ -n $commands ]]; then
    if grep -qE '^convnext (train|roadmap|compare|detect)' <<<"$commands" && [[ ! -x $programs/convnext-train ]]; then
      echo "$document: left out, convnext-train is not built"
    else
      folder=$scratch/$(basename "$document" .md)
      mkdir -p "$folder"
      ln -s "$source"/{models,examples,recipes} "$folder"
      "$draw" "$folder/pictures"
      if (cd "$folder" && bash -euo pipefail -c "$commands" >output 2>&1); then
        ran=$((ran + 1))
        echo "$document: runs as printed"
      else
        failed=1
        echo "$document: does not run as printed:"
        tail -n 20 "$folder/output"
      fi
    fi
  fi
  for language in cpp c; do
    code=$(blocks "$document" $language)
    [[ $code == *"int main"* ]] || continue
    if [[ $language == cpp ]]; then compile=(c++ -std=c++20 -x c++); else compile=(cc -std=c11 -x c); fi
    if "${compile[@]}" -Wall -Wextra -Werror -fsyntax-only -I"$source/include" - <<<"$code"; then
      ran=$((ran + 1))
    else
      failed=1
      echo "$document: its program in $language does not compile"
    fi
  done
done
[[ $ran -gt 0 ]] || { echo "no document had anything to run"; failed=1; }
exit $failed
