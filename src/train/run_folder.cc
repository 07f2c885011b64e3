#include "train/run_folder.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <functional>
#include <map>
#include <nlohmann/json.hpp>
#include <system_error>

#include "convnext/error.h"
#include "io/file.h"
#include "io/safetensors.h"

namespace convnext {
namespace fs = std::filesystem;
namespace {

using Json = nlohmann::ordered_json;

constexpr const char* kPositionKey = "convnext_run_v3";
constexpr const char* kChecksumKey = "crc32";

// Every tensor that a run goes on from, by its name in a checkpoint.
std::map<std::string, torch::Tensor> state_tensors(const RunParts& parts) {
  std::map<std::string, torch::Tensor> tensors;
  const auto add = [&](const std::string& prefix, const torch::nn::Module& network) {
    for (const auto& parameter : network.named_parameters()) tensors[prefix + parameter.key()] = parameter.value();
    for (const auto& buffer : network.named_buffers()) {
      // The others count batches or follow from the shape: nothing is computed from them.
      if (buffer.value().is_floating_point()) tensors[prefix + buffer.key()] = buffer.value();
    }
  };
  add("model.", parts.network);
  if (parts.average) add("average.", parts.average->network());
  for (const auto& [name, tensor] : parts.optimizer.state()) tensors["optimizer." + name] = tensor;
  return tensors;
}

Json groups_to_json(const Optimizer& optimizer) {
  Json groups = Json::array();
  for (const ParameterGroup& group : optimizer.groups()) {
    groups.push_back({{"name", group.name},
                      {"weight_decay", group.weight_decay},
                      {"lr_scale", group.lr_scale},
                      {"parameters", group.names}});
  }
  return groups;
}

std::string position_to_json(const RunPosition& position, const RunParts& parts) {
  Json json = {{"epochs_done", position.epochs_done},
               {"steps_of_epoch", position.steps_of_epoch},
               {"steps", position.steps},
               {"loss_sum", position.loss_sum},
               {"loss_parts", position.loss_parts},
               {"best_result", position.best_result},
               {"threads", position.environment.threads},
               {"isa", position.environment.isa},
               {"libtorch", position.environment.libtorch},
               {"device", position.environment.device},
               {"settings", Json::parse(position.settings)},
               {"card", Json::parse(position.card)},
               {"groups", groups_to_json(parts.optimizer)}};
  if (parts.average) json["average_updates"] = parts.average->updates();
  return json.dump();
}

RunPosition position_from_json(const Json& json) {
  return {.epochs_done = json.at("epochs_done").get<int>(),
          .steps_of_epoch = json.at("steps_of_epoch").get<std::int64_t>(),
          .steps = json.at("steps").get<std::int64_t>(),
          .loss_sum = json.at("loss_sum").get<double>(),
          .loss_parts = json.at("loss_parts").get<std::map<std::string, double>>(),
          .best_result = json.at("best_result").get<double>(),
          .settings = json.at("settings").dump(),
          .card = json.at("card").dump(),
          .environment = {.threads = json.at("threads").get<int>(),
                          .isa = json.at("isa").get<std::string>(),
                          .libtorch = json.at("libtorch").get<std::string>(),
                          .device = json.at("device").get<std::string>()}};
}

// Over the position and every tensor, in the order of their names.
class Checksum {
 public:
  explicit Checksum(std::string_view position) { add(position.data(), position.size()); }
  void add(const ConstTensorView& view) {
    add(view.data, static_cast<std::size_t>(view.count()) * size_of(view.dtype));
  }
  std::string text() const { return fmt::format("{:08x}", value_); }

 private:
  void add(const void* bytes, std::size_t count) {
    value_ = crc32_z(value_, static_cast<const unsigned char*>(bytes), count);
  }
  uLong value_ = crc32_z(0, nullptr, 0);
};

struct OpenCheckpoint {
  SafetensorsFile file;
  Json position;
};

// Throws Error (kDamaged) unless every byte is what was written.
OpenCheckpoint open_checkpoint(const fs::path& path, const FileLimits& limits) {
  SafetensorsFile file = SafetensorsFile::open(path, limits);
  const auto position = file.metadata().find(kPositionKey);
  const auto checksum = file.metadata().find(kChecksumKey);
  if (position == file.metadata().end() || checksum == file.metadata().end()) {
    throw Error(ErrorCode::kDamaged, fmt::format("'{}' is not a checkpoint of a run", path.string()));
  }
  Checksum found(position->second);
  for (const auto& [name, view] : file.tensors()) found.add(view);
  if (found.text() != checksum->second) {
    throw Error(ErrorCode::kDamaged, fmt::format("'{}' is damaged: its checksum is {}, and {} was written",
                                                 path.string(), found.text(), checksum->second));
  }
  Json json = Json::parse(position->second, nullptr, /*allow_exceptions=*/false);
  return {std::move(file), std::move(json)};
}

// Throws at the first member that differs between two JSON objects.
void check_equal(const std::string& what, const std::string& saved, const std::string& now) {
  const Json before = Json::parse(saved);
  Json after = Json::parse(now);
  // One may be without a member where the option that it is of is off.
  for (const auto& [key, value] : before.items()) {
    if (!after.contains(key)) after[key] = Json();
  }
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
        found->second.shape != Shape(tensor.sizes().begin(), tensor.sizes().end())) {
      throw Error(ErrorCode::kDamaged, fmt::format("'{}' has no fitting '{}'", file.file().path().string(), name));
    }
    torch::Tensor values = torch::empty(tensor.sizes(), torch::kFloat32);
    std::memcpy(values.data_ptr<float>(), found->second.data, static_cast<std::size_t>(values.numel()) * sizeof(float));
    torch::Tensor(tensor).copy_(values);
  }
}

// Held until the last copy of the result is gone, or the process. Where the file system knows no locks there is none.
std::shared_ptr<const void> lock_folder(const fs::path& folder) {
  const int fd = open(folder.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (fd < 0) {
    throw Error(ErrorCode::kIo, fmt::format("cannot open the run folder '{}': {}", folder.string(),
                                            std::generic_category().message(errno)));
  }
  // Any pointer but null: what counts is the deleter.
  std::shared_ptr<const void> lock(&kPositionKey, [fd](const void*) { close(fd); });
  if (flock(fd, LOCK_EX | LOCK_NB) != 0 && errno == EWOULDBLOCK) {
    throw Error(
        ErrorCode::kInvalidArgument,
        fmt::format("another process is training into '{}': wait for it, or give another --output", folder.string()));
  }
  return lock;
}

}  // namespace

RunFolder::RunFolder(fs::path path, bool resume, int keep_checkpoints)
    : path_(std::move(path)), keep_(static_cast<std::size_t>(keep_checkpoints)) {
  std::error_code ignored;
  if (!resume && (fs::exists(log_file(), ignored) || !checkpoints().empty())) {
    throw Error(
        ErrorCode::kInvalidArgument,
        fmt::format("'{}' holds a run already: go on with it by --resume, or give another --output", path_.string()));
  }
}

void RunFolder::make() {
  std::error_code error;
  fs::create_directories(path_ / "checkpoints", error);
  if (error) {
    throw Error(ErrorCode::kIo, fmt::format("cannot make the run folder '{}': {}", path_.string(), error.message()));
  }
  lock_ = lock_folder(path_);
  for (const fs::path& folder : {path_, path_ / "checkpoints"}) {
    for (const fs::path& file : partial_files(folder)) fs::remove(file, error);
  }
}

std::vector<fs::path> RunFolder::checkpoints() const {
  std::vector<fs::path> files;
  std::error_code error;
  for (fs::directory_iterator it(path_ / "checkpoints", error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (name.starts_with("step_") && name.ends_with(".safetensors")) files.push_back(it->path());
  }
  std::ranges::sort(files, std::greater());
  return files;
}

void RunFolder::save(const RunPosition& position, const RunParts& parts) {
  const std::string json = position_to_json(position, parts);
  Checksum checksum(json);
  // The copies live until the file is written.
  std::vector<torch::Tensor> copies;
  std::map<std::string, ConstTensorView> views;
  for (const auto& [name, tensor] : state_tensors(parts)) {
    const torch::Tensor copy = tensor.detach().to(torch::kCPU).contiguous();
    copies.push_back(copy);
    ConstTensorView view;
    view.data = reinterpret_cast<const std::byte*>(copy.const_data_ptr<float>());
    view.shape.assign(copy.sizes().begin(), copy.sizes().end());
    view.strides = contiguous_strides(view.shape);
    checksum.add(view);
    views.emplace(name, std::move(view));
  }
  const fs::path file = path_ / "checkpoints" / fmt::format("step_{:09}.safetensors", position.steps);
  write_safetensors(file, views, {{kPositionKey, json}, {kChecksumKey, checksum.text()}});
  const std::vector<fs::path> all = checkpoints();
  for (std::size_t i = keep_; i < all.size(); ++i) {
    std::error_code ignored;
    fs::remove(all[i], ignored);
  }
}

std::optional<RunPosition> RunFolder::restore(const fs::path& file, const RunPosition& expected, const RunParts& parts,
                                              std::string& skipped, const FileLimits& limits) const {
  const std::vector<fs::path> candidates = file.empty() ? checkpoints() : std::vector{file};
  for (const fs::path& path : candidates) {
    std::optional<OpenCheckpoint> checkpoint;
    RunPosition position;
    try {
      checkpoint = open_checkpoint(path, limits);
      position = position_from_json(checkpoint->position);
    } catch (const Error& error) {
      // One beyond the limits is whole: to begin without it would throw work away.
      if (!file.empty() || error.code() == ErrorCode::kUnsupported) throw;
      skipped += fmt::format("{}{}", skipped.empty() ? "" : "; ", error.what());
      continue;
    } catch (const Json::exception& error) {
      throw Error(ErrorCode::kDamaged, fmt::format("'{}' is not a checkpoint of a run that this version can go on "
                                                   "with: {}",
                                                   path.string(), error.what()));
    }
    check_equal("setting", position.settings, expected.settings);
    check_equal("model", position.card, expected.card);
    // The options of the groups follow from the settings: another version of the program may make others of them.
    if (checkpoint->position.value("groups", Json()) != groups_to_json(parts.optimizer)) {
      throw Error(ErrorCode::kMismatch,
                  fmt::format("'{}' was written with other parameter groups than these settings give now: go on with "
                              "the version of the program that wrote it",
                              path.string()));
    }
    copy_into(checkpoint->file, state_tensors(parts));
    parts.optimizer.restore(position.steps);
    if (parts.average) parts.average->restore(checkpoint->position.value("average_updates", position.steps));
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

void RunFolder::cut_log(std::int64_t steps) {
  if (!fs::exists(log_file())) return;
  std::ifstream log(log_file());
  std::string kept;
  for (std::string line; std::getline(log, line);) {
    const Json entry = Json::parse(line, nullptr, /*allow_exceptions=*/false);
    if (entry.is_object() && entry.value("steps", steps + 1) <= steps) kept += line + '\n';
  }
  log.close();
  write_file_atomically(log_file(), kept);
}

}  // namespace convnext
