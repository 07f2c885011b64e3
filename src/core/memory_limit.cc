#include "core/memory_limit.h"

#include <fstream>
#include <optional>
#include <string>

#include "core/control_group.h"

namespace convnext {
namespace {

namespace fs = std::filesystem;

// "max" stands for no limit.
std::optional<double> limit_in(const fs::path& file) {
  double bytes = 0;
  if (std::ifstream(file) >> bytes && bytes > 0) return bytes;
  return std::nullopt;
}

// The line "MemTotal:       16384000 kB".
std::optional<double> machine_memory(const fs::path& root) {
  std::ifstream file(root / "proc/meminfo");
  std::string name;
  double kilobytes = 0;
  if (file >> name >> kilobytes && name == "MemTotal:" && kilobytes > 0) return kilobytes * 1024;
  return std::nullopt;
}

}  // namespace

std::uint64_t memory_limit(const fs::path& root) {
  const auto groups = smallest_group_limit(
      root, "memory", [](const fs::path& group) { return limit_in(group / "memory.max"); },
      [](const fs::path& group) { return limit_in(group / "memory.limit_in_bytes"); });
  const auto machine = machine_memory(root);
  // Version 1 says "no limit" by a number that no machine reaches.
  if (!machine || (groups && *groups < *machine)) return static_cast<std::uint64_t>(groups.value_or(0));
  return static_cast<std::uint64_t>(*machine);
}

}  // namespace convnext
