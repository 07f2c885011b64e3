// The names of ImageNet's classes, for weights that bring none. From WordNet, built in: tools/imagenet_labels.py.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace convnext {

// One list of classes, in the order of the logits: that of the synsets, everywhere.
struct ImagenetList {
  std::string_view name;             // "ImageNet-1K"
  std::vector<std::string> synsets;  // "n01440764"
  std::vector<std::string> labels;   // "tench"; in the longer lists some names stand for several classes
};

// ImageNet-1K (1,000 classes), ImageNet-12K (timm's, 11,821) or ImageNet-22K (21,841). Null for any other number.
const ImagenetList* imagenet_list(int classes);

// The list that these labels are, whoever wrote them: synset ids, or names ("tench, Tinca tinca") that agree with ours
// in nine of ten classes. Null when they are something else.
const ImagenetList* recognized_imagenet_list(const std::vector<std::string>& labels);

// "tench" of "n01440764"; empty for what is no synset of any list.
std::string_view imagenet_name(std::string_view synset);

}  // namespace convnext
