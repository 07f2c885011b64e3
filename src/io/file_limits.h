// The limits of files by their options: which values they may have, and what is said of a file beyond one.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "convnext/file_limits.h"

namespace convnext {

using FileLimit = std::int64_t FileLimits::*;

struct NamedLimit {
  FileLimit limit;
  std::string_view option;  // of our programs
  std::int64_t most;        // that it may be set to; the least is 1
};

std::span<const NamedLimit> named_limits();
const NamedLimit& named_limit(FileLimit limit);

// Throws Error (kInvalidArgument) at the first value that is out of range.
void validate(const FileLimits& limits);

// Throws Error (kUnsupported): "PLACE: FOUND, more than the limit of 1,000 (--max-nesting)".
[[noreturn]] void throw_beyond_limit(std::string_view place, std::string_view found, const FileLimits& limits,
                                     FileLimit limit);
// For the tensor with which the file that `place` names has `count` of them.
[[noreturn]] void throw_too_many_tensors(std::string_view place, std::string_view tensor, std::uint64_t count,
                                         const FileLimits& limits);

}  // namespace convnext
