// Pictures in folders: a folder of anything, walked as it comes; or a folder of class folders (torchvision's
// ImageFolder), whose names are the classes.
#pragma once

#include <filesystem>
#include <functional>
#include <string>
#include <vector>

namespace convnext {

// By the file's extension, whatever its case: jpg, jpeg, png, webp.
bool has_picture_extension(const std::filesystem::path& path);

// Calls visit(file) for each picture below `folder`, folders in the order of their names; a folder's names are held in
// memory, never the whole tree's. A link to a folder is followed once. Stops early when visit returns false.
void walk_pictures(const std::filesystem::path& folder, const std::function<bool(const std::filesystem::path&)>& visit);

struct ClassFolder {
  std::string name;
  std::vector<std::filesystem::path> pictures;  // sorted
};

// The class folders below `root`, sorted by name. Throws Error: kNotFound when there is none, kMismatch naming the
// class folder that holds no pictures.
std::vector<ClassFolder> list_class_folders(const std::filesystem::path& root);

}  // namespace convnext
