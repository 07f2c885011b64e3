#include "train/run_folder.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <functional>
#include <nlohmann/json.hpp>
#include <vector>

#include "convnext/error.h"
#include "io/file.h"
#include "io/safetensors.h"

namespace convnext {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kPositionKey = "convnext_run_v1";
constexpr std::size_t kKept = 2;

// Every tensor that a run goes on from, by its name in a checkpoint. The tensors are the live ones, not copies.
std::map<std::string, torch::Tensor> state_tensors(const Network& network, const MovingAverage* average,
                                                   const AdamW& optimizer) {
  std::map<std::string, torch::Tensor> tensors;
  for (const auto& parameter : network.named_parameters()) tensors["model." + parameter.key()] = parameter.value();
  if (average) {
    for (const auto& parameter : average->network().named_parameters()) {
      tensors["average." + parameter.key()] = parameter.value();
    }
  }
  for (const auto& [name, tensor] : optimizer.state()) tensors["optimizer." + name] = tensor;
  return tensors;
}

std::string position_to_json(const RunPosition& position) {
  const Json json = {{"epochs_done", position.epochs_done},
                     {"steps", position.steps},
                     {"best_top1", position.best_top1},
                     {"settings", Json::parse(position.settings)},
                     {"card", Json::parse(position.card)}};
  return json.dump();
}

RunPosition position_from_json(const std::string& text, const fs::path& path) {
  try {
    const Json json = Json::parse(text);
    return {.epochs_done = json.at("epochs_done").get<int>(),
            .steps = json.at("steps").get<std::int64_t>(),
            .best_top1 = json.at("best_top1").get<double>(),
            .settings = json.at("settings").dump(),
            .card = json.at("card").dump()};
  } catch (const Json::exception& error) {
    throw Error(ErrorCode::kDamaged, fmt::format("'{}' is not a checkpoint of a run: {}", path.string(), error.what()));
  }
}

// Throws at the first member that differs between two JSON objects.
void check_equal(const std::string& what, const std::string& saved, const std::string& now) {
  const Json before = Json::parse(saved), after = Json::parse(now);
  for (const auto& [key, value] : after.items()) {
    const Json old = before.contains(key) ? before[key] : Json();
    if (old != value) {
      throw Error(ErrorCode::kMismatch,
                  fmt::format("this run began with another {}: '{}' was {}, now it is {}; go on with "
                              "the old value, or begin a new run in another folder",
                              what, key, old.dump(), value.dump()));
    }
  }
}

void copy_into(const SafetensorsFile& file, const std::map<std::string, torch::Tensor>& tensors) {
  torch::NoGradGuard no_grad;
  for (const auto& [name, tensor] : tensors) {
    const auto found = file.tensors().find(name);
    if (found == file.tensors().end() || found->second.dtype != DType::kF32 ||
        found->second.count() != tensor.numel()) {
      throw Error(ErrorCode::kDamaged, fmt::format("'{}' has no fitting '{}'", file.file().path().string(), name));
    }
    torch::Tensor values = torch::empty(tensor.sizes(), torch::kFloat32);
    std::memcpy(values.data_ptr<float>(), found->second.data, static_cast<std::size_t>(values.numel()) * sizeof(float));
    torch::Tensor(tensor).copy_(values);
  }
}

}  // namespace

RunFolder::RunFolder(fs::path path, bool resume) : path_(std::move(path)) {
  std::error_code ignored;
  if (!resume && (fs::exists(log_file(), ignored) || !checkpoints().empty())) {
    throw Error(
        ErrorCode::kInvalidArgument,
        fmt::format("'{}' holds a run already: go on with it by --resume, or give another --output", path_.string()));
  }
}

void RunFolder::make() const {
  std::error_code error;
  fs::create_directories(path_ / "checkpoints", error);
  if (error) {
    throw Error(ErrorCode::kIo, fmt::format("cannot make the run folder '{}': {}", path_.string(), error.message()));
  }
}

std::vector<fs::path> RunFolder::checkpoints() const {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator it(path_ / "checkpoints", error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.starts_with("epoch_") && name.ends_with(".safetensors")) files.push_back(it->path());
  }
  std::ranges::sort(files, std::greater());
  return files;
}

void RunFolder::save(const RunPosition& position, const Network& network, const MovingAverage* average,
                     const AdamW& optimizer) {
  // The copies live until the file is written.
  std::vector<torch::Tensor> copies;
  std::map<std::string, ConstTensorView> views;
  for (const auto& [name, tensor] : state_tensors(network, average, optimizer)) {
    const torch::Tensor copy = tensor.detach().to(torch::kCPU).contiguous();
    copies.push_back(copy);
    ConstTensorView view;
    view.data = reinterpret_cast<const std::byte*>(copy.const_data_ptr<float>());
    view.shape.assign(copy.sizes().begin(), copy.sizes().end());
    view.strides = contiguous_strides(view.shape);
    views.emplace(name, std::move(view));
  }
  const fs::path file = path_ / "checkpoints" / fmt::format("epoch_{:06}.safetensors", position.epochs_done);
  write_safetensors(file, views, {{kPositionKey, position_to_json(position)}});
  const std::vector<fs::path> all = checkpoints();
  for (std::size_t i = kKept; i < all.size(); ++i) {
    std::error_code ignored;
    fs::remove(all[i], ignored);
  }
}

std::optional<RunPosition> RunFolder::restore(const RunPosition& expected, Network& network, MovingAverage* average,
                                              AdamW& optimizer, std::string& skipped) const {
  for (const fs::path& path : checkpoints()) {
    std::optional<SafetensorsFile> file;
    RunPosition position;
    try {
      file = SafetensorsFile::open(path);
      const auto found = file->metadata().find(kPositionKey);
      if (found == file->metadata().end()) {
        throw Error(ErrorCode::kDamaged, fmt::format("'{}' is not a checkpoint of a run", path.string()));
      }
      position = position_from_json(found->second, path);
    } catch (const Error& error) {
      skipped += fmt::format("{}{}", skipped.empty() ? "" : "; ", error.what());
      continue;
    }
    check_equal("setting", position.settings, expected.settings);
    check_equal("model", position.card, expected.card);
    const auto tensors = state_tensors(network, average, optimizer);
    copy_into(*file, tensors);
    optimizer.restore(optimizer.state(), position.steps);
    return position;
  }
  return std::nullopt;
}

void RunFolder::append_log(const std::string& json) {
  std::ofstream log(log_file(), std::ios::app);
  log << json << '\n';
  log.flush();
  if (!log) throw Error(ErrorCode::kIo, fmt::format("cannot write to '{}'", log_file().string()));
}

void RunFolder::cut_log(int epochs_done) {
  if (!fs::exists(log_file())) return;
  std::ifstream log(log_file());
  std::string kept, line;
  while (std::getline(log, line)) {
    const Json entry = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (entry.is_object() && entry.value("epoch", epochs_done + 1) <= epochs_done) kept += line + '\n';
  }
  log.close();
  write_file_atomically(log_file(), kept);
}

}  // namespace convnext
