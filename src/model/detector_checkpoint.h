// A detector on disk: weights and card, read together and checked against each other.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "io/tensor_file.h"
#include "model/card.h"
#include "model/detector_layouts.h"
#include "model/weights.h"

namespace convnext {

// The card of a file of a detector's weights, and how it was come by.
struct DetectorCheckpointCard {
  DetectorCard card;
  bool has_card = false;  // whether the card came with the weights, or was put together
  // Where each value of a card that was put together came from, by its name in a card; those of the backbone with
  // "backbone." before it.
  std::map<std::string, std::string> origins;
  std::vector<std::string> notes;  // what a person should know: what was passed over, what was assumed
};

// The same with the weights.
struct DetectorCheckpoint : DetectorCheckpointCard {
  WeightStore weights;         // by the names of tensor_specs(card.detector)
  std::filesystem::path path;  // the file that was read
  DetectorNaming naming = DetectorNaming::kOwn;
};

// Whether these are a detector's: they have our card of one, or the heads.
bool is_detector(const TensorFile& file);
// Whether a file of weights, or the one of a folder, is a detector's; false for what cannot be opened, too: whoever
// reads it says what is wrong.
bool holds_detector(const std::filesystem::path& path, const TensorFileOptions& options = {});

// Reads a file of a detector's weights: ours, or one of mmdetection and the authors of ConvNeXt and Swin in any kind of
// file. Without our card backbone, heads and class count are found from the tensors, thresholds and the like are the
// registered detectors', labels are what a checkpoint of mmdetection's calls its classes, or else COCO's where there
// are
// 80. Throws Error: a damaged file, a file of no
// detector, or the first tensor that does not fit, with its key and both shapes.
DetectorCheckpoint read_detector(const std::filesystem::path& path, const TensorFileOptions& options = {});

// Throws Error as read_detector(), but does not look whether the tensors fit.
DetectorCheckpointCard card_of(const TensorFile& file, const RecognizedDetector& weights,
                               const FileLimits& limits = {});

// Writes atomically: a PyTorch file, without a card, where `path` ends in .pth, .pt or .bin; model.safetensors in a
// folder where it is one or ends in '/'; else a safetensors file. Safetensors have the card in the metadata, in every
// layout. Throws Error (kUnsupported) for a backbone that the layout has no names for, and for a detector that a
// PyTorch file's tensors alone would not make again, before anything is written.
void write_detector(const std::filesystem::path& path, const DetectorCard& card, const WeightStore& weights,
                    WrittenDetectorLayout layout = WrittenDetectorLayout::kOwn);

}  // namespace convnext
