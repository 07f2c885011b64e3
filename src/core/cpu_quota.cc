#include "core/cpu_quota.h"

#include <algorithm>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

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

// Every group from `group` up to the mount point limits the process. Inside a container `group` is often a path of the
// host's that does not exist here; the mount point itself is then the container's group.
template <typename Quota>
std::optional<double> smallest(const fs::path& mount, const fs::path& group, Quota quota) {
  std::optional<double> least = quota(mount);
  fs::path at = mount;
  for (const fs::path& part : group.relative_path()) {
    if (part == "..") break;
    at /= part;
    if (const auto found = quota(at); found && (!least || *found < *least)) least = found;
  }
  return least;
}

}  // namespace

std::optional<double> cgroup_cpu_quota(const fs::path& root) {
  const fs::path mounts = root / "sys/fs/cgroup";
  std::optional<double> least;
  const auto consider = [&](std::optional<double> found) {
    if (found && (!least || *found < *least)) least = found;
  };
  std::ifstream groups(root / "proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "0::/group" (version 2), "4:cpu,cpuacct:/group" (version 1)
    const std::size_t first = line.find(':');
    const std::size_t second = first == std::string::npos ? first : line.find(':', first + 1);
    if (second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const fs::path group = line.substr(second + 1);
    if (controllers.empty()) {
      consider(smallest(mounts, group, quota_v2));
      consider(smallest(mounts / "unified", group, quota_v2));
      continue;
    }
    std::istringstream names(controllers);
    for (std::string name; std::getline(names, name, ',');) {
      if (name != "cpu") continue;
      consider(smallest(mounts / controllers, group, quota_v1));
      if (controllers != name) consider(smallest(mounts / name, group, quota_v1));
    }
  }
  return least;
}

}  // namespace convnext
