#!/usr/bin/env bash
# The library never prints, aborts or exits: its objects refer to no function that would.
#   tests/library_does_not_exit.sh PATH/TO/libconvnext.a
# Left alone are __assert_fail (Debug builds), std::terminate (the compiler's own, for noexcept and for threads),
# writing to a file that a caller named (fwrite, std::ofstream), and what the image libraries do inside themselves.
set -euo pipefail
library=${1:?usage: tests/library_does_not_exit.sh LIBRARY}

# Demangled names, whole: the C functions, their fortified forms (__printf_chk), and the standard streams.
forbidden='abort|exit|_exit|_Exit|quick_exit|raise|perror|putchar|puts|v?printf|stdout|stderr|__v?printf_chk'
forbidden+='|std::(w?cout|w?cerr|w?clog|exit|abort|quick_exit)'

# references FILE: "object: name" for every undefined symbol.
references() {
  nm --demangle --undefined-only --print-file-name "$1" 2>/dev/null | sed -E 's/^(.*): +U (.*)$/\1: \2/; s/@.*$//'
}

# The check can fail: an object that calls one of them is found.
probe=$(mktemp -d)
trap 'rm -rf "$probe"' EXIT
printf '%s\n' '#include <cstdlib>' '#include <iostream>' \
  'void leave(int code) { if (code) std::exit(code); std::cout << code; }' >"$probe/probe.cc"
"${CXX:-c++}" -std=c++20 -O2 -c "$probe/probe.cc" -o "$probe/probe.o"
for name in exit std::cout; do
  references "$probe/probe.o" | grep -qE ": $name\$" && grep -qE "^($forbidden)\$" <<<"$name" || {
    echo "the check itself is broken: $name is not found"
    exit 1
  }
done

all=$(references "$library")
[[ $(wc -l <<<"$all") -gt 100 ]] || { echo "$library shows no symbols"; exit 1; }
if found=$(grep -E ": ($forbidden)\$" <<<"$all"); then
  printf 'the library must not print, abort or exit:\n%s\n' "$found"
  exit 1
fi
echo "library: none of $(cut -d: -f1-2 <<<"$all" | sort -u | wc -l) objects prints, aborts or exits"
