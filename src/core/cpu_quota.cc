#include "core/cpu_quota.h"

#include <fstream>

#include "core/control_group.h"

namespace convnext {
namespace {

namespace fs = std::filesystem;

// "max 100000" or "150000 100000": microseconds of CPU time in each period.
std::optional<double> quota_v2(const fs::path& group) {
  std::ifstream file(group / "cpu.max");
  double quota = 0;
  double period = 0;
  if (file >> quota >> period && quota > 0 && period > 0) return quota / period;
  return std::nullopt;
}

// -1 stands for no limit.
std::optional<double> quota_v1(const fs::path& group) {
  double quota = 0;
  double period = 0;
  if (std::ifstream(group / "cpu.cfs_quota_us") >> quota && std::ifstream(group / "cpu.cfs_period_us") >> period &&
      quota > 0 && period > 0) {
    return quota / period;
  }
  return std::nullopt;
}

}  // namespace

std::optional<double> cgroup_cpu_quota(const fs::path& root) {
  return smallest_group_limit(root, "cpu", quota_v2, quota_v1);
}

}  // namespace convnext
