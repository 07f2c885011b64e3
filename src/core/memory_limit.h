// How much memory this process may use.
#pragma once

#include <cstdint>
#include <filesystem>

namespace convnext {

// Bytes: the smaller of the machine's memory and what the control groups of this process allow it; 0 when neither can
// be found out. Reads version 2 (memory.max) and version 1 (memory.limit_in_bytes), and `root`/proc/meminfo; `root`
// other than "/" is for tests.
std::uint64_t memory_limit(const std::filesystem::path& root = "/");

}  // namespace convnext
