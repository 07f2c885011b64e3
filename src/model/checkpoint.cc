#include "model/checkpoint.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cstdlib>
#include <map>

#include "convnext/error.h"
#include "io/safetensors.h"
#include "model/layouts.h"
#include "model/registry.h"
#include "model/tensors.h"

namespace convnext {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kModelFile = "model.safetensors";

fs::path weights_file(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) return path;
  const fs::path file = path / kModelFile;
  if (!fs::exists(file, ignored)) {
    throw Error(ErrorCode::kNotFound, fmt::format("the folder '{}' holds no {}", path.string(), kModelFile));
  }
  return file;
}

// A card for a file that has none: the registered defaults, with what the tensors' shapes tell.
Card default_card(const RegistryEntry& entry, const WeightStore& weights) {
  Card card;
  card.architecture = entry.name;
  card.network = entry.network;
  card.preprocessing = entry.preprocessing;
  std::visit(
      [&weights](ConvNextConfig& config) {
        if (weights.contains("head.fc.weight")) {
          const Shape& shape = weights.at("head.fc.weight").shape;
          if (!shape.empty()) config.classes = static_cast<int>(std::min<std::int64_t>(shape[0], 1'000'000));
        } else {
          config.classes = 0;
        }
        if (weights.contains("stem.0.weight")) {
          const Shape& shape = weights.at("stem.0.weight").shape;
          if (shape.size() == 4) config.input_channels = static_cast<int>(std::min<std::int64_t>(shape[1], 64));
        }
      },
      card.network);
  validate(card.network);
  return card;
}

std::string_view stored_precision(const WeightStore& weights) {
  return weights.all().empty() ? "fp32" : precision_name(weights.all().begin()->second.dtype);
}

}  // namespace

std::string_view precision_name(DType dtype) {
  switch (dtype) {
    case DType::kF16:
      return "fp16";
    case DType::kBF16:
      return "bf16";
    default:
      return "fp32";
  }
}

Checkpoint read_checkpoint(const fs::path& path, std::string_view architecture_name) {
  Checkpoint checkpoint;
  checkpoint.path = weights_file(path);
  const std::string source = checkpoint.path.string();
  const SafetensorsFile file = SafetensorsFile::open(checkpoint.path);
  checkpoint.weights = import_weights(file, source);

  const RegistryEntry* named = architecture_name.empty() ? nullptr : &architecture(architecture_name);
  const auto card = file.metadata().find(std::string(kCardKey));
  if (card != file.metadata().end()) {
    checkpoint.has_card = true;
    checkpoint.card = card_from_json(card->second, source);
    if (named && named->name != checkpoint.card.architecture) {
      throw Error(ErrorCode::kMismatch, fmt::format("'{}' is a {} by its card, not a {}: leave --architecture out",
                                                    source, checkpoint.card.architecture, named->name));
    }
  } else if (named) {
    checkpoint.card = default_card(*named, checkpoint.weights);
    checkpoint.card.precision = stored_precision(checkpoint.weights);
  } else {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("'{}' has no card that says which network it is: name it with --architecture", source));
  }
  check_weights(checkpoint.weights, checkpoint.card.network, source);
  return checkpoint;
}

void write_checkpoint(const fs::path& path, const Card& card, const WeightStore& weights) {
  check_weights(weights, card.network, path.string());
  std::map<std::string, ConstTensorView> tensors(weights.all().begin(), weights.all().end());
  write_safetensors(path, tensors, {{"format", "pt"}, {std::string(kCardKey), card_to_json(card)}});
}

fs::path find_model_file(std::string_view model, const fs::path& installed) {
  std::error_code ignored;
  if (model.empty()) throw Error(ErrorCode::kInvalidArgument, "the name of the model is empty");
  const fs::path direct(model);
  if (fs::exists(direct, ignored)) return direct;
  std::vector<fs::path> folders;
  if (const char* variable = std::getenv("CONVNEXT_MODELS"); variable && *variable) folders.emplace_back(variable);
  folders.emplace_back("models");
  if (!installed.empty()) folders.push_back(installed);
  std::vector<std::string> tried;
  for (const fs::path& folder : folders) {
    for (const std::string& name : {std::string(model), std::string(model) + ".safetensors"}) {
      const fs::path candidate = folder / name;
      if (fs::exists(candidate, ignored)) return candidate;
    }
    tried.push_back(folder.string());
  }
  if (const RegistryEntry* entry = find_architecture(model)) {
    const std::string published = entry->published_weights.empty() ? std::string("nobody has published weights for it")
                                                                   : fmt::format("published weights: {}.{} (timm)",
                                                                                 entry->name, entry->published_weights);
    throw Error(ErrorCode::kNotFound,
                fmt::format("'{}' is the name of an architecture, and weights are needed here: give a "
                            "file; {}",
                            model, published));
  }
  throw Error(ErrorCode::kNotFound,
              fmt::format("there is no model '{}': no such file, and not in {}", model, fmt::join(tried, ", ")));
}

WeightStore converted(const WeightStore& weights, DType dtype) {
  WeightStore result;
  for (const auto& [name, view] : weights.all()) result.add(name, converted(view, dtype));
  return result;
}

}  // namespace convnext
