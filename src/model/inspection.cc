#include "model/inspection.h"

#include <algorithm>
#include <iterator>

#include "convnext/error.h"
#include "model/int8_weights.h"

namespace convnext {

bool FileInspection::has_whole_weights() const {
  return problems.empty() && misfits.empty() && std::ranges::all_of(tensors, [](const InspectedTensor& tensor) {
           return tensor.own.empty() || tensor.statistics.all_finite();
         });
}

bool Inspection::is_whole() const { return has_whole_weights() && card.has_value(); }

bool DetectorInspection::is_whole() const { return has_whole_weights() && card.has_value(); }

namespace {

// Calls `step`; what it throws becomes a problem, once.
template <typename Step>
void attempt(FileInspection& inspection, const Step& step) {
  try {
    step();
  } catch (const Error& error) {
    if (std::ranges::find(inspection.problems, std::string(error.what())) == inspection.problems.end()) {
      inspection.problems.emplace_back(error.what());
    }
  }
}

// Of what integers stand for where they have scales.
TensorStatistics statistics_of(const ConstTensorView& view, const TensorViews& scales, const std::string& key) {
  const auto scale = scales.find(key);
  if (scale == scales.end()) return tensor_statistics(view);
  Tensor floats = Tensor::zeros(view.shape);
  to_float32(view, scale->second, floats.values<float>());
  return tensor_statistics(floats.view());
}

// `stored`: all tensors of the file, `scales` among them.
void inspect_tensors(const TensorViews& stored, const TensorViews& scales, const RecognizedWeights& weights,
                     FileInspection& inspection) {
  std::map<std::string_view, std::string_view> own_names;
  for (const auto& [own, tensor] : weights.tensors) own_names.emplace(tensor.key, own);
  for (const auto& [key, view] : stored) {
    StoredType& type = inspection.types[view.dtype];
    ++type.tensors;
    type.bytes += static_cast<std::uint64_t>(view.count()) * size_of(view.dtype);
    const auto own = own_names.find(key);
    inspection.tensors.push_back({key, own == own_names.end() ? std::string() : std::string(own->second), view.dtype,
                                  view.shape, statistics_of(view, scales, key)});
  }
}

// The file; its kind becomes known when it could be opened.
TensorFile open_for_inspection(const std::filesystem::path& path, const TensorFileOptions& options,
                               FileInspection& inspection) {
  TensorFile file;
  inspection.path = path;
  attempt(inspection, [&] {
    inspection.path = weights_file(path);
    file = open_tensor_file(inspection.path, options);
    inspection.kind = file.kind;
  });
  return file;
}

}  // namespace

Inspection inspect(const std::filesystem::path& path, std::string_view architecture_name,
                   const TensorFileOptions& options) {
  Inspection inspection;
  TensorFile file = open_for_inspection(path, options, inspection);
  if (!inspection.kind) return inspection;
  const TensorViews stored = file.tensors;
  TensorViews scales;
  attempt(inspection, [&] { scales = take_scales(file); });
  const RecognizedWeights weights = recognize(file.tensors, scales);
  if (weights.has_blocks()) inspection.layout = weights.layout;
  inspect_tensors(stored, scales, weights, inspection);
  attempt(inspection, [&] {
    inspection.card = card_of(file, weights, architecture_name, options.limits);
    inspection.misfits = find_misfits(weights, inspection.card->card.network);
  });
  inspection.notes = file.notes;
  std::ranges::copy(inspection.card ? inspection.card->notes : notes_on(weights), std::back_inserter(inspection.notes));
  if (inspection.card || !inspection.layout) return inspection;
  // No card, but the tensors may still tell what they lack.
  attempt(inspection, [&] {
    std::vector<std::string> ignored;
    NetworkConfig network = infer_network(weights, inspection.path.string(), ignored);
    if (!architecture_name.empty()) network = named_network(architecture(architecture_name), network);
    inspection.misfits = find_misfits(weights, network);
  });
  return inspection;
}

DetectorInspection inspect_detector(const std::filesystem::path& path, const TensorFileOptions& options) {
  DetectorInspection inspection;
  const TensorFile file = open_for_inspection(path, options, inspection);
  if (!inspection.kind) return inspection;
  const RecognizedDetector weights = recognize_detector(file.tensors);
  inspection.naming = weights.naming;
  if (weights.backbone.has_blocks()) inspection.backbone_layout = weights.layout;
  inspect_tensors(file.tensors, {}, weights, inspection);
  attempt(inspection, [&] {
    inspection.card = card_of(file, weights, options.limits);
    inspection.misfits = find_misfits(weights, inspection.card->card.detector);
  });
  inspection.notes = file.notes;
  if (inspection.card) std::ranges::copy(inspection.card->notes, std::back_inserter(inspection.notes));
  return inspection;
}

}  // namespace convnext
