// The control groups of this process, which limit what it may use in containers and under systemd.
#pragma once

#include <filesystem>
#include <functional>
#include <optional>
#include <string_view>

namespace convnext {

// A limit that the folder of one group tells; none when it limits nothing.
using GroupLimit = std::function<std::optional<double>(const std::filesystem::path& group)>;

// The smallest limit on the way from the process's group to the top: by `version2`, and by `version1` in the
// hierarchies of `controller` ("cpu", "memory"). The groups are below `root`/proc/self/cgroup and `root`/sys/fs/cgroup.
std::optional<double> smallest_group_limit(const std::filesystem::path& root, std::string_view controller,
                                           const GroupLimit& version2, const GroupLimit& version1);

}  // namespace convnext
