#include "io/tensor_file.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <iterator>
#include <nlohmann/json.hpp>
#include <optional>
#include <set>
#include <span>
#include <utility>

#include "convnext/error.h"
#include "core/names.h"
#include "io/bytes.h"
#include "io/file.h"
#include "io/file_limits.h"
#include "io/json_text.h"
#include "io/pytorch.h"
#include "io/quoted.h"
#include "io/safetensors.h"

namespace convnext {
namespace fs = std::filesystem;
namespace {

constexpr std::array kKinds = {
    Named<TensorFileKind>{TensorFileKind::kSafetensors, "safetensors"},
    Named<TensorFileKind>{TensorFileKind::kSafetensorsIndex, "safetensors in shards"},
    Named<TensorFileKind>{TensorFileKind::kPytorchZip, "PyTorch zip"},
    Named<TensorFileKind>{TensorFileKind::kPytorchLegacy, "PyTorch of before 1.6"},
    Named<TensorFileKind>{TensorFileKind::kPytorchIndex, "PyTorch in shards"},
};

constexpr std::size_t kFirstBytes = 512;
constexpr std::string_view kWeightMap = "weight_map";
constexpr std::size_t kMostExamples = 5;

// Files that people have in place of weights, by their first bytes.
struct OtherKind {
  std::string_view first_bytes;
  std::string_view text;
};
constexpr std::array kOtherKinds = {
    OtherKind{"version https://git-lfs", "a Git LFS pointer in place of the file: fetch it with 'git lfs pull'"},
    OtherKind{"<", "a web page in place of the file: download it again"},
    OtherKind{"\x89HDF", "an HDF5 file, as Keras writes: only safetensors and PyTorch files are read"},
    OtherKind{"\x93NUMPY", "a NumPy array: only safetensors and PyTorch files are read"},
    OtherKind{"\x1f\x8b", "compressed by gzip: unpack it first"},
    OtherKind{"PK\x05\x06", "an empty zip archive"},
    OtherKind{"GGUF", "a GGUF file: only safetensors and PyTorch files are read"},
};

// Its header's length, eight bytes, and '{'. A text that begins with '{' would promise a header of 2^56 bytes.
bool is_safetensors(std::string_view first_bytes) {
  constexpr std::size_t kLengthBytes = 8;
  return first_bytes.size() > kLengthBytes && first_bytes[kLengthBytes] == '{' && first_bytes[kLengthBytes - 1] == '\0';
}

bool is_json(std::string_view first_bytes) {
  const std::size_t begin = first_bytes.find_first_not_of(" \t\r\n");
  return begin != std::string_view::npos && first_bytes[begin] == '{';
}

TensorFile open_safetensors(const fs::path& path, const TensorFileOptions& options) {
  TensorFile result;
  result.path = path;
  result.kind = TensorFileKind::kSafetensors;
  const SafetensorsFile file = SafetensorsFile::open(path, options.limits);
  result.tensors.insert(file.tensors().begin(), file.tensors().end());
  for (const auto& [name, type] : file.unread()) result.unread.emplace(name, fmt::format("of type {}", type));
  result.metadata = file.metadata();
  result.owners.push_back(file.file().owner());
  return result;
}

// Shards by the names of their tensors.
using WeightMap = std::map<std::string, std::string, std::less<>>;

WeightMap read_weight_map(const fs::path& path, const FileLimits& limits) {
  const auto damaged = [&](std::string_view what) {
    throw Error(ErrorCode::kDamaged, fmt::format("'{}' is no index of shards: {}", path.string(), what));
  };
  const std::string source = fmt::format("'{}'", path.string());
  const std::string text = read_json_text(path, limits);
  std::uint64_t names = 0;
  bool in_map = false;
  const auto check = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
    if (event == nlohmann::json::parse_event_t::key) {
      if (depth == 1) in_map = parsed == kWeightMap;
      if (depth == 2 && in_map && std::cmp_greater(++names, limits.max_tensors)) {
        throw_too_many_tensors(source, parsed.get_ref<const std::string&>(), names, limits);
      }
    }
    return true;
  };
  nlohmann::json index;
  try {
    index = nlohmann::json::parse(text, check);
  } catch (const nlohmann::json::parse_error& error) {
    damaged(fmt::format("its JSON is damaged at byte {}", error.byte));
  } catch (const nlohmann::json::exception&) {
    damaged("its JSON holds a number that is out of range");
  }
  const auto map = index.find(kWeightMap);
  if (map == index.end() || !map->is_object()) damaged("it has no weight_map");
  WeightMap shards;
  for (const auto& [name, shard] : map->items()) {
    if (!shard.is_string()) damaged(fmt::format("the shard of {} is no text", in_quotes(name)));
    const auto& file = shard.get_ref<const std::string&>();
    if (file.empty() || file == "." || file == ".." || file.find_first_of(std::string_view("/\\\0", 3)) != file.npos) {
      damaged(fmt::format("the shard {} of {} is not a file beside it", in_quotes(file), in_quotes(name)));
    }
    shards.emplace(name, file);
  }
  if (shards.size() != names) damaged("a name stands twice in its weight_map");
  return shards;
}

// The tensors that a file of weights itself holds; nothing for a file of another kind.
std::optional<TensorFile> open_weights(const fs::path& path, std::span<const std::byte> first_bytes,
                                       const TensorFileOptions& options) {
  // Before the others: the length of a header may begin with the bytes of a pickle.
  if (is_safetensors(text_of(first_bytes))) return open_safetensors(path, options);
  if (is_pytorch_zip(first_bytes)) return open_pytorch_zip(MappedFile::open(path), options);
  if (is_pytorch_legacy(first_bytes)) return open_pytorch_legacy(MappedFile::open(path), options);
  return std::nullopt;
}

std::vector<std::byte> read_first_bytes(const fs::path& path) {
  const FileReader reader(path);
  std::vector<std::byte> first_bytes(std::min<std::uint64_t>(kFirstBytes, reader.size()));
  reader.read(0, first_bytes);
  return first_bytes;
}

[[noreturn]] void throw_other_kind(const fs::path& path, std::string_view first_bytes) {
  for (const OtherKind& kind : kOtherKinds) {
    if (first_bytes.starts_with(kind.first_bytes)) {
      throw Error(ErrorCode::kUnsupported, fmt::format("'{}' is {}", path.string(), kind.text));
    }
  }
  constexpr std::size_t kTarSignature = 257;
  if (first_bytes.size() > kTarSignature && first_bytes.substr(kTarSignature).starts_with("ustar")) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("'{}' is a tar archive: unpack it first, or load and save it anew in Python if it is a "
                            "PyTorch file of 2016",
                            path.string()));
  }
  throw Error(
      ErrorCode::kDamaged,
      fmt::format("'{}' {}", path.string(),
                  first_bytes.empty() ? "is empty; was the download cut short?"
                                      : "is neither a safetensors nor a PyTorch file: it begins like none of them"));
}

TensorFile open_shard(const fs::path& path, const TensorFileOptions& options) {
  const std::vector<std::byte> first_bytes = read_first_bytes(path);
  if (std::optional<TensorFile> file = open_weights(path, first_bytes, options)) return std::move(*file);
  throw_other_kind(path, text_of(first_bytes));
}

using TensorPlace = std::pair<std::string, std::string>;  // a tensor's name and its shard's

TensorFile open_index(const fs::path& path, const TensorFileOptions& options) {
  TensorFile result;
  result.path = path;
  result.kind = TensorFileKind::kSafetensorsIndex;
  const WeightMap shards = read_weight_map(path, options.limits);
  std::set<std::string_view> files;
  for (const auto& [name, file] : shards) files.insert(file);

  std::vector<TensorPlace> unexpected;
  for (const std::string_view name : files) {
    TensorFile shard = open_shard(path.parent_path() / name, options);
    if (shard.kind != TensorFileKind::kSafetensors) result.kind = TensorFileKind::kPytorchIndex;
    const auto is_mapped = [&](const std::string& tensor) {
      const auto mapped = shards.find(tensor);
      if (mapped != shards.end() && mapped->second == name) return true;
      unexpected.emplace_back(tensor, name);
      return false;
    };
    for (const auto& [tensor, view] : shard.tensors) {
      if (is_mapped(tensor)) result.tensors.emplace(tensor, view);
    }
    for (const auto& [tensor, what] : shard.unread) {
      if (is_mapped(tensor)) result.unread.emplace(tensor, what);
    }
    result.metadata.insert(shard.metadata.begin(), shard.metadata.end());
    if (result.classes.key.empty()) result.classes = std::move(shard.classes);
    std::ranges::move(shard.owners, std::back_inserter(result.owners));
    std::ranges::move(shard.notes, std::back_inserter(result.notes));
  }
  std::vector<TensorPlace> missing;
  for (const auto& [name, file] : shards) {
    if (!result.tensors.contains(name) && !result.unread.contains(name)) missing.emplace_back(name, file);
  }
  if (!missing.empty() || !unexpected.empty()) {
    const auto in_file = [](const TensorPlace& place) {
      return fmt::format("{} in {}", in_quotes(place.first), in_quotes(place.second));
    };
    std::string what;
    if (!missing.empty()) what = fmt::format("they have no {}", examples_of(missing, kMostExamples, in_file));
    if (!unexpected.empty()) {
      what += fmt::format("{}it does not name {}", what.empty() ? "" : "; ",
                          examples_of(unexpected, kMostExamples, in_file));
    }
    throw Error(ErrorCode::kMismatch, fmt::format("'{}' does not fit its shards: {}", path.string(), what));
  }
  return result;
}

void note_unread(TensorFile& file) {
  std::map<std::string_view, std::vector<std::string_view>> by_what;
  for (const auto& [name, what] : file.unread) by_what[what].push_back(name);
  for (const auto& [what, names] : by_what) {
    file.notes.push_back(fmt::format("passed over tensors that are {}: {}", what, examples_of(names, kMostExamples)));
  }
}

}  // namespace

std::string_view name_of(TensorFileKind kind) { return find_name(kKinds, kind); }

TensorFile open_tensor_file(const fs::path& path, const TensorFileOptions& options) {
  validate(options.limits);
  const std::vector<std::byte> first_bytes = read_first_bytes(path);
  std::optional<TensorFile> file = open_weights(path, first_bytes, options);
  if (!file && is_json(text_of(first_bytes))) file = open_index(path, options);
  if (!file) throw_other_kind(path, text_of(first_bytes));
  note_unread(*file);
  return std::move(*file);
}

}  // namespace convnext
