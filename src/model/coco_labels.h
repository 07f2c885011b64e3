// What COCO's 80 classes are called, in ascending order of their ids.
#pragma once

#include <string>
#include <vector>

namespace convnext {

const std::vector<std::string>& coco_labels();

}  // namespace convnext
