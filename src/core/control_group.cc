#include "core/control_group.h"

#include <fstream>
#include <sstream>
#include <string>

namespace convnext {
namespace {

namespace fs = std::filesystem;

// Every group from `group` up to the mount point limits the process. Inside a container `group` is often a path of the
// host's that does not exist here; the mount point itself is then the container's group.
std::optional<double> smallest(const fs::path& mount, const fs::path& group, const GroupLimit& limit) {
  std::optional<double> least = limit(mount);
  fs::path at = mount;
  for (const fs::path& part : group.relative_path()) {
    if (part == "..") break;
    at /= part;
    if (const auto found = limit(at); found && (!least || *found < *least)) least = found;
  }
  return least;
}

}  // namespace

std::optional<double> smallest_group_limit(const fs::path& root, std::string_view controller,
                                           const GroupLimit& version2, const GroupLimit& version1) {
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
      consider(smallest(mounts, group, version2));
      consider(smallest(mounts / "unified", group, version2));
      continue;
    }
    std::istringstream names(controllers);
    for (std::string name; std::getline(names, name, ',');) {
      if (name != controller) continue;
      consider(smallest(mounts / controllers, group, version1));
      if (controllers != name) consider(smallest(mounts / name, group, version1));
    }
  }
  return least;
}

}  // namespace convnext
