#include "io/file_limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <string>

#include "convnext/error.h"
#include "core/progress.h"
#include "io/quoted.h"

namespace convnext {
namespace {

// Nesting ends where a sanitized build still prints a value on 8 MB of stack, the ratio where deflate ends.
constexpr std::array kLimits = {
    NamedLimit{&FileLimits::max_header_bytes, "--max-header-bytes", 10'000'000'000},
    NamedLimit{&FileLimits::max_nesting, "--max-nesting", 2'000},
    NamedLimit{&FileLimits::max_tensors, "--max-tensors", 100'000'000},
    NamedLimit{&FileLimits::max_memo, "--max-memo", 1'000'000'000},
    NamedLimit{&FileLimits::max_zip_ratio, "--max-zip-ratio", 1032},
};

}  // namespace

std::span<const NamedLimit> named_limits() { return kLimits; }

const NamedLimit& named_limit(FileLimit limit) { return *std::ranges::find(kLimits, limit, &NamedLimit::limit); }

void validate(const FileLimits& limits) {
  for (const NamedLimit& named : kLimits) {
    const std::int64_t value = limits.*named.limit;
    if (value >= 1 && value <= named.most) continue;
    throw Error(ErrorCode::kInvalidArgument, fmt::format("the limit of files {} is {}: expected 1 to {}", named.option,
                                                         value, format_count(named.most)));
  }
}

void throw_beyond_limit(std::string_view place, std::string_view found, const FileLimits& limits, FileLimit limit) {
  throw Error(ErrorCode::kUnsupported, fmt::format("{}: {}, more than the limit of {} ({})", place, found,
                                                   format_count(limits.*limit), named_limit(limit).option));
}

void throw_too_many_tensors(std::string_view place, std::string_view tensor, std::uint64_t count,
                            const FileLimits& limits) {
  throw_beyond_limit(
      place,
      fmt::format("with {} it holds {} tensors", in_quotes(tensor), format_count(static_cast<std::int64_t>(count))),
      limits, &FileLimits::max_tensors);
}

}  // namespace convnext
