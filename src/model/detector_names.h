// What the tensors of a detector are called in mmdetection's files, which the authors of ConvNeXt and Swin use too.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "model/layout_names.h"

namespace convnext {

struct DetectorLayout {
  WeightLayout backbone = WeightLayout::kFb;  // kFb, kMmpretrain, kTimm; kResNet; kSwinMicrosoft
  bool is_cascade = false;                    // whose heads have numbers
};

// What we call (tensor_specs(DetectorConfig)) the tensor that such a file calls `key`; nothing for other keys.
std::optional<TensorName> own_detector_name(const DetectorLayout& layout, std::string_view key);

// The other way round; nothing when the layout has no such tensor.
std::optional<TensorName> detector_name_in(const DetectorLayout& layout, std::string_view own);

}  // namespace convnext
