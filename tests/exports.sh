#!/usr/bin/env bash
# The shared library exports the public interface, all of it in C, and nothing else: no symbol of our inside, of a
# library that is linked into it, or of a template of the standard library. Its name has the version in it.
#   tests/exports.sh PATH/TO/libconvnext.so
set -euo pipefail
library=${1:?usage: tests/exports.sh LIBRARY}
headers=("$(dirname "$0")"/../include/convnext/*.h)

fail() {
  echo "exports: $*" >&2
  exit 1
}

# strays: of the demangled names on standard input, those that no public header declares. Of a C++ name that is the part
# after convnext::, a class or a function; classes that are private parts of others are called State.
strays() {
  local name first
  while read -r name; do
    first=$name
    first=${first#typeinfo for }
    first=${first#typeinfo name for }
    first=${first#vtable for }
    case $first in
      *convnext::*::State::* | "") echo "$name" ;;
      convnext::*)
        first=${first#convnext::}
        grep -qwF -- "${first%%[^A-Za-z0-9_]*}" "${headers[@]}" || echo "$name"
        ;;
      convnext_*) grep -qE "\\b$first\\(" "${headers[@]}" || echo "$name" ;;
      *) echo "$name" ;;
    esac
  done
}

# The check can fail.
for name in 'fmt::v9::vformat(fmt::v9::basic_string_view<char>)' 'hwy::SupportedTargets()' 'convnext_hidden' \
  'std::vector<convnext::Image>::~vector()' 'convnext::SafetensorsFile::open(char const*)' 'png_read_row' \
  'typeinfo for nlohmann::detail::exception' 'convnext::ThreadPool::State::take_part(int)'; do
  [[ $(strays <<<"$name") == "$name" ]] || fail "the check itself is broken: '$name' passes"
done
for name in 'convnext::Model::load(std::filesystem::path const&)' 'typeinfo for convnext::Error' 'convnext_model_load'; do
  [[ -z $(strays <<<"$name") ]] || fail "the check itself is broken: '$name' is refused"
done

names=$(nm --dynamic --defined-only --demangle --format=posix "$library" | sed -E 's/ [A-Za-z] [0-9a-f]+( [0-9a-f]+)? *$//')
[[ $(wc -l <<<"$names") -gt 40 ]] || fail "$library exports next to nothing"
found=$(strays <<<"$names")
[[ -z $found ]] || fail "these symbols of $library are no part of the public interface:
$found"

for name in $(grep -oE '^[a-z].*\bconvnext_[a-z_]+\(' "${headers[@]}" | grep -oE 'convnext_[a-z_]+\($' | tr -d '('); do
  grep -qxF "$name" <<<"$names" || fail "$name is declared, and not exported"
done

soname=$(readelf -d "$library" | sed -nE 's/.*\(SONAME\).*\[(.*)\]/\1/p')
[[ $soname == libconvnext.so.[0-9]* ]] || fail "the name in $library is '$soname', without a version"
echo "exports: $(wc -l <<<"$names") symbols of $soname, all of them public"
