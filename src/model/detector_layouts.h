// Weights of detectors in the layouts in which they are published: told apart, brought into ours, and written again. As
// layouts.h does it for networks.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "model/detector.h"
#include "model/detector_names.h"
#include "model/layouts.h"

namespace convnext {

// Whose names pyramid, proposals and heads have.
enum class DetectorNaming {
  kOwn,
  kMmdet,  // mmdetection's, which the authors of ConvNeXt and Swin use too
};
// "own", "mmdet".
std::string_view name_of(DetectorNaming naming);

// The tensors of a detector, sorted by what is known of them; `layout` is that of the backbone.
struct RecognizedDetector : RecognizedWeights {
  DetectorNaming naming = DetectorNaming::kOwn;
  bool is_cascade = false;
  RecognizedWeights backbone;  // as a network of its own
};

// Whether the tensors are a detector's: ours, or with mmdetection's heads.
bool has_detector_heads(const TensorViews& file);

// What has a name in a part of the detector and none that is known is unexpected: another kind of detector would
// compute something else. What lies outside of its parts is passed over, and so is the backbone's classifier.
RecognizedDetector recognize_detector(const TensorViews& file);

struct InferredDetector {
  std::string architecture;  // a registered detector's name
  DetectorConfig config;
};

// The detector that names and shapes tell of: kind, backbone, class count, kind and widths of the heads. The rest is
// the registered detector's. Notes for people go to `notes`. Throws Error when there can be no such detector.
InferredDetector infer_detector(const RecognizedDetector& weights, std::string_view source,
                                std::vector<std::string>& notes);

// What keeps the tensors of a file from being the weights of a detector: in the order of tensor_specs().
std::vector<Misfit> find_misfits(const RecognizedDetector& weights, const DetectorConfig& config);

// The weights by the names and in the shapes of tensor_specs(config). They must have no misfits. Views are of the
// file's memory, which `owners` keep alive.
WeightStore import_weights(const RecognizedDetector& weights, const DetectorConfig& config,
                           const std::vector<std::shared_ptr<const void>>& owners);

// The weights by mmdetection's names, with the backbone's as `layout` has them; views of the same memory. Throws Error
// (kUnsupported) for a tensor that has no name there.
TensorViews export_detector(const WeightStore& weights, const DetectorLayout& layout);

// What `convnext convert` writes of a detector.
enum class WrittenDetectorLayout {
  kOwn,
  kMmdet,  // mmdetection's, with a ConvNeXt as mmpretrain names it
  kFb,     // that of the authors of ConvNeXt and Swin: the same heads, and the backbone as they name it
};
// "own", "mmdet", "fb".
std::string_view name_of(WrittenDetectorLayout layout);
// Throws Error (kInvalidArgument) with the names there are.
WrittenDetectorLayout written_detector_layout_from_name(std::string_view name);

// The weights by the names that the layout has for them. Throws Error (kUnsupported) for a backbone that it has no
// names for.
TensorViews export_weights(const WeightStore& weights, const DetectorConfig& config, WrittenDetectorLayout layout);

}  // namespace convnext
