#include "model/checkpoint.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <map>
#include <span>
#include <variant>

#include "convnext/error.h"
#include "io/file.h"
#include "io/pytorch.h"
#include "io/quoted.h"
#include "io/safetensors.h"
#include "model/card_sources.h"
#include "model/int8_weights.h"
#include "model/published.h"
#include "model/registry.h"
#include "model/tensor_statistics.h"

namespace convnext {
namespace fs = std::filesystem;
namespace {

constexpr std::string_view kModelFile = "model.safetensors";
// As the hubs call the weights of a folder, the preferred first.
constexpr std::string_view kWeightsFiles[] = {
    kModelFile,
    "model.safetensors.index.json",
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
    "open_clip_pytorch_model.bin",
};
constexpr std::string_view kWeightsEndings[] = {".safetensors", ".pth", ".pt", ".bin", ".pth.tar"};
constexpr std::string_view kPytorchEndings[] = {".pth", ".pt", ".bin"};

bool ends_with_any(std::string_view name, std::span<const std::string_view> endings) {
  return std::ranges::any_of(endings, [name](std::string_view ending) { return name.ends_with(ending); });
}

// Nothing but the weights of a network, or several: then nobody knows which are meant.
fs::path only_weights_file(const fs::path& folder) {
  constexpr std::size_t kShown = 4;
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator entry(folder, error), end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    std::error_code ignored;
    if (ends_with_any(name, kWeightsEndings) && entry->is_regular_file(ignored)) names.push_back(name);
  }
  if (error) {
    throw Error(ErrorCode::kIo, fmt::format("cannot read the folder '{}': {}", folder.string(), error.message()));
  }
  if (names.empty()) {
    throw Error(ErrorCode::kNotFound,
                fmt::format("the folder '{}' holds no {}, nor any other file of weights", folder.string(), kModelFile));
  }
  std::ranges::sort(names);
  if (names.size() > 1) {
    const std::size_t count = names.size();
    names.resize(std::min(count, kShown));
    throw Error(ErrorCode::kNotFound,
                fmt::format("the folder '{}' holds no {} but {} files of weights: say which ({}{})", folder.string(),
                            kModelFile, count, fmt::join(names, ", "), count > kShown ? ", ..." : ""));
  }
  return folder / names.front();
}

std::string_view stored_precision(const RecognizedWeights& weights) {
  return weights.tensors.empty() ? "fp32" : precision_name(weights.tensors.begin()->second.view.dtype);
}

void require_blocks(const RecognizedWeights& weights, const std::string& source) {
  if (weights.has_blocks()) return;
  constexpr std::size_t kShown = 3;
  // Some of the names may be those of a network without its blocks.
  std::vector<std::string> names;
  for (const auto& [own, tensor] : weights.tensors) names.push_back(in_quotes(tensor.key));
  for (const auto& [key, view] : weights.unexpected) names.push_back(in_quotes(key));
  const std::string_view more = names.size() > kShown ? ", ..." : "";
  names.resize(std::min(names.size(), kShown));
  throw Error(ErrorCode::kUnsupported,
              fmt::format("'{}' holds no network that is known: no block of one under any name{}", source,
                          names.empty() ? "" : fmt::format("; it holds {}{}", fmt::join(names, ", "), more)));
}

// Throws Error (kUnsupported) when the network needs a tensor whose type is not read.
void require_read_types(const TensorFile& file, const RecognizedWeights& weights) {
  for (const auto& [key, what] : file.unread) {
    const auto has_name = [&key = key](WeightLayout layout) { return own_name(layout, key).has_value(); };
    const bool is_needed =
        weights.has_blocks() ? has_name(weights.layout) : std::ranges::any_of(weight_layouts(), has_name);
    if (!is_needed) continue;
    throw Error(ErrorCode::kUnsupported,
                fmt::format("'{}': tensor {} is {}, which is not read here; store it as F16, BF16 or F32",
                            file.path.string(), in_quotes(key), what));
  }
}

// Throws Error (kMismatch) with the first tensor that does not fit and `advice`.
void require_fit(const RecognizedWeights& weights, const NetworkConfig& network, const std::string& source,
                 const std::string& advice = {}) {
  const std::vector<Misfit> misfits = find_misfits(weights, network);
  if (misfits.empty()) return;
  throw Error(ErrorCode::kMismatch,
              fmt::format("'{}': {}{}{}{}", source, misfits.front().message(),
                          misfits.size() == 1 ? ""
                                              : fmt::format(", and {} more do not fit ('convnext inspect' lists "
                                                            "them)",
                                                            misfits.size() - 1),
                          advice.empty() ? "" : "; ", advice));
}

// The network that a user named, with what its tensors say of classes and channels.
NetworkConfig as_named(const NetworkConfig& inferred, const RegistryEntry& named, const RecognizedWeights& weights,
                       const std::string& source) {
  if (inferred.index() != named.network.index()) {
    throw Error(
        ErrorCode::kMismatch,
        fmt::format("'{}': its tensors are named as those of a {}, and {} is a {}: leave the name {} out", source,
                    name_of(family_of(inferred)), named.name, name_of(family_of(named.network)), named.name));
  }
  const NetworkConfig network = named_network(named, inferred);
  require_fit(weights, network, source, difference_from(inferred, named));
  return network;
}

// DINOv3's networks have the tensors of others, but only they are published under these names. Empty where names do not
// tell, or no registered network has the shape.
std::string_view dinov3_by_names(const RecognizedWeights& weights, const NetworkConfig& network) {
  const bool says_so = weights.layout == WeightLayout::kHfDinov3 ||
                       (weights.layout == WeightLayout::kFb && weights.passed_over.contains("norms.3.weight"));
  if (!says_so) return {};
  for (const RegistryEntry& entry : registry()) {
    if (entry.family == Family::kDinov3ConvNext && entry.network == network) return entry.name;
  }
  return {};
}

std::map<std::string, std::string> metadata_of(const Card& card) {
  return {{"format", "pt"}, {std::string(kCardKey), card_to_json(card)}};
}

std::vector<std::string> lost_of_convnext(const ConvNextConfig& network, const ConvNextConfig& back) {
  std::vector<std::string> lost;
  const auto compare = [&lost](std::string_view what, const auto& have, const auto& would_be) {
    if (have != would_be) lost.push_back(fmt::format("{} {} (it would be read as {})", what, have, would_be));
  };
  compare("norm", name_of(network.norm), name_of(back.norm));
  compare("norm eps", network.norm_eps, back.norm_eps);
  compare("head eps", network.head_eps(), back.head_eps());
  compare("activation", name_of(network.activation), name_of(back.activation));
  compare("norm in the stem", network.stem_norm, back.stem_norm);
  compare("head", name_of(network.head), name_of(back.head));
  return lost;
}

// Throws Error (kUnsupported) when a file of these tensors and no card would be read as another network. Whether
// linears are kept as convolutions makes no difference to what is computed, nor does the name of a stem: its shapes
// tell what it does.
void require_whole_without_card(const fs::path& path, const NetworkConfig& network, const TensorViews& views) {
  std::vector<std::string> ignored;
  const NetworkConfig back = infer_network(recognize(views), path.string(), ignored);
  const std::vector<std::string> lost = lost_of(network, back);
  if (lost.empty()) return;
  throw Error(
      ErrorCode::kUnsupported,
      fmt::format("'{}' would be another network: a PyTorch file holds no card, and its tensors do not tell {}; "
                  "write safetensors",
                  path.string(), fmt::join(lost, ", ")));
}

// The JSON files that a layout's library wants beside the weights, by their names.
std::map<std::string, std::string> files_beside(const Card& card, WrittenLayout layout) {
  switch (layout) {
    case WrittenLayout::kTimm:
      return {{"config.json", timm_config_json(card)}};
    case WrittenLayout::kHf:
      return {{"config.json", transformers_config_json(card)},
              {"preprocessor_config.json", transformers_preprocessor_json(card)}};
    case WrittenLayout::kOwn:
    case WrittenLayout::kFb:
    case WrittenLayout::kTorchvision:
      break;
  }
  return {};
}

// For a tensor that is not finite as `dtype`.
[[noreturn]] void throw_not_finite(std::string_view name, const ConstTensorView& view, DType dtype) {
  if (!is_finite(view)) {
    throw Error(
        ErrorCode::kDamaged,
        fmt::format("'{}' holds a NaN or an infinity: the weights are damaged ('convnext inspect' counts them)", name));
  }
  const TensorStatistics range = tensor_statistics(view);
  const double farthest = -range.least > range.greatest ? range.least : range.greatest;
  throw Error(ErrorCode::kUnsupported,
              fmt::format("'{}' holds {:g}, which would be an infinity in {}{}", name, farthest, precision_name(dtype),
                          dtype == DType::kF16 ? " (it ends at 65504): bf16 and fp32 reach farther" : ""));
}

}  // namespace

std::vector<std::string> lost_of(const NetworkConfig& network, const NetworkConfig& back) {
  const auto* convnext = std::get_if<ConvNextConfig>(&network);
  const auto* convnext_back = std::get_if<ConvNextConfig>(&back);
  if (convnext && convnext_back) return lost_of_convnext(*convnext, *convnext_back);
  std::vector<std::string> lost;
  for (const auto& [name, value, would_be] : network_differences(network, back)) {
    lost.push_back(
        fmt::format("{} {} (it would be read as {})", name, value, would_be.empty() ? "another network" : would_be));
  }
  return lost;
}

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

bool is_pytorch_output(const fs::path& path) {
  std::error_code ignored;
  return path.has_filename() && !fs::is_directory(path, ignored) && ends_with_any(path.string(), kPytorchEndings);
}

fs::path safetensors_output(const fs::path& path) {
  std::error_code ignored;
  if (path.has_filename() && !fs::is_directory(path, ignored)) return path;
  std::error_code error;
  fs::create_directories(path, error);
  if (error) {
    throw Error(ErrorCode::kIo, fmt::format("cannot make the folder '{}': {}", path.string(), error.message()));
  }
  return path / kModelFile;
}

fs::path weights_file(const fs::path& path) {
  std::error_code ignored;
  if (!fs::is_directory(path, ignored)) return path;
  for (const std::string_view name : kWeightsFiles) {
    if (fs::exists(path / name, ignored)) return path / name;
  }
  return only_weights_file(path);
}

NetworkConfig named_network(const RegistryEntry& named, const NetworkConfig& inferred) {
  NetworkConfig network = fitted(named.network, inferred);
  validate(network);
  return network;
}

CheckpointCard card_of(const TensorFile& file, const RecognizedWeights& weights, std::string_view architecture_name,
                       const FileLimits& limits) {
  const std::string source = file.path.string();
  const RegistryEntry* named = architecture_name.empty() ? nullptr : &architecture(architecture_name);
  CheckpointCard result;
  result.notes = notes_on(weights);
  require_read_types(file, weights);
  if (const auto card = file.metadata.find(std::string(kCardKey)); card != file.metadata.end()) {
    result.has_card = true;
    result.card = card_from_json(card->second, source, limits);
    if (named && named->name != result.card.architecture) {
      throw Error(ErrorCode::kMismatch, fmt::format("'{}' is a {} by its card, not a {}: leave the name {} out", source,
                                                    result.card.architecture, named->name, named->name));
    }
    return result;
  }
  require_blocks(weights, source);
  NetworkConfig network = infer_network(weights, source, result.notes);
  if (named) network = as_named(network, *named, weights, source);
  const std::string_view told = named ? std::string_view(named->name) : dinov3_by_names(weights, network);
  FoundCard found = find_card(file.path, network, told, name_of(weights.layout), limits, file.classes);
  if (!named && !told.empty()) found.origins["architecture"] = "the tensors' names";
  result.card = std::move(found.card);
  result.origins = std::move(found.origins);
  std::ranges::move(found.notes, std::back_inserter(result.notes));
  result.card.precision = stored_precision(weights);
  result.origins.try_emplace("precision", "the tensors");
  if (!std::holds_alternative<ConvNextConfig>(network)) return result;
  for (const char* value : {"stem", "patch_size", "norm", "layer_scale", "grn", "head"}) {
    result.origins.try_emplace(value, "the tensors");
  }
  if (is_transformers_backbone(weights)) {
    // Its config.json says the eps of a norm that it does not have.
    std::get<ConvNextConfig>(result.card.network).head_norm_eps = 0.0;
    result.origins["head_norm_eps"] = "the tensors' names: of a backbone";
  }
  result.origins.try_emplace("head_norm_eps", result.origins["norm_eps"]);
  return result;
}

Checkpoint read_checkpoint(const fs::path& path, std::string_view architecture_name, const TensorFileOptions& options) {
  TensorFile file = open_tensor_file(weights_file(path), options);
  const TensorViews scales = take_scales(file);
  const RecognizedWeights weights = recognize(file.tensors, scales);
  Checkpoint checkpoint{card_of(file, weights, architecture_name, options.limits), {}, file.path, weights.layout};
  // A network that a user named was compared already.
  if (checkpoint.has_card || architecture_name.empty()) {
    // Of a ConvNeXt depths and widths are the tensors' own, of another family the nearest network's.
    const bool is_nearest = !checkpoint.has_card && family_of(checkpoint.card.network) != Family::kConvNext;
    require_fit(weights, checkpoint.card.network, file.path.string(),
                is_nearest ? fmt::format("the nearest network is {}", checkpoint.card.architecture) : std::string());
  }
  checkpoint.weights = import_weights(weights, checkpoint.card.network, file.owners);
  checkpoint.notes.insert(checkpoint.notes.begin(), file.notes.begin(), file.notes.end());
  return checkpoint;
}

void write_checkpoint(const fs::path& path, const Card& card, const WeightStore& weights) {
  check_weights(weights, card.network, path.string());
  const bool holds_integers =
      std::ranges::any_of(weights.all(), [&](const auto& entry) { return weights.scales(entry.first) != nullptr; });
  if (holds_integers != (card.precision == kInt8Precision)) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("'{}': the card says {}, and the weights are {}", path.string(), card.precision,
                            holds_integers ? "8-bit integers" : "floats"));
  }
  write_safetensors(path, file_tensors(weights), metadata_of(card));
}

void export_checkpoint(const fs::path& path, const Card& card, const WeightStore& weights, WrittenLayout layout) {
  check_weights(weights, card.network, path.string());
  const TensorViews views = export_weights(weights, card, layout);
  const std::map<std::string, ConstTensorView> tensors(views.begin(), views.end());
  // Made before anything is written, and for a single file too: what has no config.json cannot be loaded there either.
  const std::map<std::string, std::string> beside = files_beside(card, layout);
  const bool is_pytorch = is_pytorch_output(path);
  if (is_pytorch) require_whole_without_card(path, card.network, views);
  if (is_pytorch) {
    write_pytorch(path, std::vector<std::pair<std::string, ConstTensorView>>(views.begin(), views.end()));
    return;
  }
  const fs::path file = safetensors_output(path);
  if (file != path) {
    for (const auto& [name, text] : beside) write_file_atomically(path / name, text);
  }
  write_safetensors(file, tensors, metadata_of(card));
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
    const PublishedWeights* weights = find_published(entry->name, entry->published_weights);
    const std::string published =
        weights ? fmt::format("published weights: {}", weights->name) : "nobody has published weights for it";
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
  for (const auto& [name, view] : weights.all()) {
    Tensor tensor = converted(weights, name, dtype);
    if (!is_finite(tensor.view())) {
      const bool has_scales = weights.scales(name) != nullptr;
      throw_not_finite(name, has_scales ? converted(weights, name, DType::kF32).view() : view, dtype);
    }
    result.add(name, std::move(tensor));
  }
  return result;
}

}  // namespace convnext
