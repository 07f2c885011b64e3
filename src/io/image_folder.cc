#include "io/image_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>

#include "convnext/error.h"

namespace convnext {
namespace fs = std::filesystem;
namespace {

// Names of a folder's members, sorted: the order must not depend on the file system.
std::vector<fs::path> sorted_members(const fs::path& folder) {
  std::error_code error;
  std::vector<fs::path> members;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    members.push_back(it->path());
  }
  if (error) {
    throw Error(ErrorCode::kIo, fmt::format("cannot read the folder '{}': {}", folder.string(), error.message()));
  }
  std::ranges::sort(members);
  return members;
}

bool walk(const fs::path& folder, std::set<fs::path>& seen, const std::function<bool(const fs::path&)>& visit) {
  std::error_code error;
  const fs::path real = fs::canonical(folder, error);
  if (!error && !seen.insert(real).second) return true;
  for (const fs::path& member : sorted_members(folder)) {
    if (fs::is_directory(member, error)) {
      if (!walk(member, seen, visit)) return false;
    } else if (has_picture_extension(member)) {
      if (!visit(member)) return false;
    }
  }
  return true;
}

}  // namespace

bool has_picture_extension(const fs::path& path) {
  std::string extension = path.extension().string();
  std::ranges::transform(extension, extension.begin(),
                         [](char c) { return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c; });
  return extension == ".jpg" || extension == ".jpeg" || extension == ".png" || extension == ".webp";
}

void walk_pictures(const fs::path& folder, const std::function<bool(const fs::path&)>& visit) {
  std::set<fs::path> seen;
  walk(folder, seen, visit);
}

std::vector<ClassFolder> list_class_folders(const fs::path& root) {
  std::error_code error;
  if (!fs::is_directory(root, error)) {
    throw Error(ErrorCode::kNotFound, fmt::format("there is no folder '{}'", root.string()));
  }
  std::vector<ClassFolder> classes;
  for (const fs::path& member : sorted_members(root)) {
    if (!fs::is_directory(member, error)) continue;
    ClassFolder& one = classes.emplace_back();
    one.name = member.filename().string();
    walk_pictures(member, [&one](const fs::path& file) {
      one.pictures.push_back(file);
      return true;
    });
    if (one.pictures.empty()) {
      throw Error(ErrorCode::kMismatch,
                  fmt::format("the class folder '{}' holds no pictures (jpg, jpeg, png, webp): fill it or remove it",
                              member.string()));
    }
  }
  if (classes.empty()) {
    throw Error(ErrorCode::kNotFound,
                fmt::format("'{}' holds no class folders: expected one folder of pictures a class", root.string()));
  }
  return classes;
}

}  // namespace convnext
