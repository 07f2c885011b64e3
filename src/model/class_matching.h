// Which class of a model a folder of pictures stands for.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

namespace convnext {

// Folder names and what they stand for: a label, a synset id or a class index, as text.
using ClassMap = std::map<std::string, std::string, std::less<>>;

// A text file with a line "folder class" for each folder; a tab may stand between the two when the folder's name has
// spaces. Empty lines, and lines that begin with #, are passed over. Throws Error with the line.
ClassMap read_class_map(const std::filesystem::path& path);

// A text file with a label a line, in the order of the logits. Throws Error with the line that has none.
std::vector<std::string> read_labels(const std::filesystem::path& path);

// How a model calls its classes.
struct ModelClasses {
  int count = 0;
  std::vector<std::string> labels;  // empty when not known; "tabby", "n02123045 tabby" or "n02123045"
};

// The class index of each folder, in the order given: by label (a difference of case, or of underscore and space, does
// not matter), then by synset id (which labels have, or are known to have when they are ImageNet's), then by the map.
// Classes without a folder are fine. Throws Error (kMismatch) with examples of both sides when a folder fits no class
// or several, or the map contradicts the labels.
std::vector<int> match_classes(const std::vector<std::string>& folders, const ModelClasses& classes,
                               const ClassMap& map = {});

// Folder i is class i: only for data whose folders are exactly the classes that the model was trained on. Throws Error
// (kMismatch) when their number differs.
std::vector<int> match_classes_by_index(const std::vector<std::string>& folders, const ModelClasses& classes);

}  // namespace convnext
