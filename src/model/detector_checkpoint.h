// A detector on disk: weights and card, read together and checked against each other.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "io/tensor_file.h"
#include "model/card.h"
#include "model/detector_names.h"
#include "model/layouts.h"
#include "model/weights.h"

namespace convnext {

struct DetectorCheckpoint {
  DetectorCard card;
  bool has_card = false;           // whether the card came with the weights, or was put together
  WeightStore weights;             // by the names of tensor_specs(card.detector)
  std::filesystem::path path;      // the file that was read
  std::vector<std::string> notes;  // what a person should know: what was passed over, what was assumed
};

// Whether these are a detector's: they have our card of one, or mmdetection's heads.
bool is_detector(const TensorFile& file);

// Reads a file of a detector's weights: ours, or one of mmdetection and the authors of ConvNeXt and Swin in any kind of
// file. Of those backbone, heads and class count are found from the tensors, thresholds and the like are the registered
// detectors', labels are COCO's where there are 80 classes. Throws Error: a damaged file, a file of no detector, or the
// first tensor that does not fit, with its key and both shapes.
DetectorCheckpoint read_detector(const std::filesystem::path& path, const TensorFileOptions& options = {});

// Writes atomically, by our names, with the card in the metadata.
void write_detector(const std::filesystem::path& path, const DetectorCard& card, const WeightStore& weights);

// The weights by mmdetection's names, with the backbone's as `layout` has them; views of the same memory. Throws Error
// (kUnsupported) for a tensor that has no name there.
TensorViews export_detector(const WeightStore& weights, const DetectorLayout& layout);

}  // namespace convnext
