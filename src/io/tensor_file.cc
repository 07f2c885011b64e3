#include "io/tensor_file.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <set>
#include <utility>

#include "convnext/error.h"
#include "core/names.h"
#include "io/file.h"
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
};

constexpr std::size_t kFirstBytes = 512;
constexpr std::size_t kMaxIndexBytes = 16 << 20;
constexpr int kMaxIndexDepth = 8;
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

std::string_view text_of(std::span<const std::byte> bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// Its header's length, eight bytes, and '{'. A text that begins with '{' would promise a header of 2^56 bytes.
bool is_safetensors(std::string_view first_bytes) {
  constexpr std::size_t kLengthBytes = 8;
  return first_bytes.size() > kLengthBytes && first_bytes[kLengthBytes] == '{' && first_bytes[kLengthBytes - 1] == '\0';
}

bool is_json(std::string_view first_bytes) {
  const std::size_t begin = first_bytes.find_first_not_of(" \t\r\n");
  return begin != std::string_view::npos && first_bytes[begin] == '{';
}

[[noreturn]] void throw_too_many(const fs::path& path, std::int64_t most) {
  throw Error(ErrorCode::kUnsupported, fmt::format("'{}' holds more than {} tensors", path.string(), most));
}

TensorFile open_safetensors(const fs::path& path, const TensorFileOptions& options) {
  TensorFile result;
  result.path = path;
  result.kind = TensorFileKind::kSafetensors;
  const SafetensorsFile file = SafetensorsFile::open(path);
  if (std::cmp_greater(file.tensors().size(), options.max_tensors)) throw_too_many(path, options.max_tensors);
  result.tensors.insert(file.tensors().begin(), file.tensors().end());
  result.metadata = file.metadata();
  result.owners.push_back(file.file().owner());
  return result;
}

// Shards by the names of their tensors.
using WeightMap = std::map<std::string, std::string, std::less<>>;

WeightMap read_weight_map(const fs::path& path, std::int64_t max_tensors) {
  const auto damaged = [&](std::string_view what) {
    throw Error(ErrorCode::kDamaged, fmt::format("'{}' is no index of safetensors: {}", path.string(), what));
  };
  const std::string text = read_text(path, kMaxIndexBytes);
  std::int64_t names = 0;
  bool in_map = false;
  const auto check = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
    if (depth > kMaxIndexDepth) damaged("it nests too deep");
    if (event == nlohmann::json::parse_event_t::key) {
      if (depth == 1) in_map = parsed == kWeightMap;
      if (depth == 2 && in_map && ++names > max_tensors) throw_too_many(path, max_tensors);
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
  if (std::cmp_not_equal(shards.size(), names)) damaged("a name stands twice in its weight_map");
  return shards;
}

std::string examples_of(const std::vector<std::string>& names) {
  const auto shown = static_cast<std::ptrdiff_t>(std::min(names.size(), kMostExamples));
  std::string text = fmt::format("{}", fmt::join(names.begin(), names.begin() + shown, ", "));
  if (names.size() > kMostExamples) text += fmt::format(" and {} more", names.size() - kMostExamples);
  return text;
}

TensorFile open_index(const fs::path& path, const TensorFileOptions& options) {
  TensorFile result;
  result.path = path;
  result.kind = TensorFileKind::kSafetensorsIndex;
  const WeightMap shards = read_weight_map(path, options.max_tensors);
  std::set<std::string_view> files;
  for (const auto& [name, file] : shards) files.insert(file);

  std::vector<std::string> unexpected;
  for (const std::string_view name : files) {
    const SafetensorsFile file = SafetensorsFile::open(path.parent_path() / name);
    for (const auto& [tensor, view] : file.tensors()) {
      const auto mapped = shards.find(tensor);
      if (mapped == shards.end() || mapped->second != name) {
        unexpected.push_back(fmt::format("{} in {}", in_quotes(tensor), in_quotes(name)));
      } else {
        result.tensors.emplace(tensor, view);
      }
    }
    result.metadata.insert(file.metadata().begin(), file.metadata().end());
    result.owners.push_back(file.file().owner());
  }
  std::vector<std::string> missing;
  for (const auto& [name, file] : shards) {
    if (!result.tensors.contains(name)) missing.push_back(fmt::format("{} in {}", in_quotes(name), in_quotes(file)));
  }
  if (!missing.empty() || !unexpected.empty()) {
    std::string what;
    if (!missing.empty()) what = fmt::format("they have no {}", examples_of(missing));
    if (!unexpected.empty()) {
      what += fmt::format("{}it does not name {}", what.empty() ? "" : "; ", examples_of(unexpected));
    }
    throw Error(ErrorCode::kMismatch, fmt::format("'{}' does not fit its shards: {}", path.string(), what));
  }
  return result;
}

}  // namespace

std::string_view name_of(TensorFileKind kind) { return find_name(kKinds, kind); }

TensorFile open_tensor_file(const fs::path& path, const TensorFileOptions& options) {
  std::array<std::byte, kFirstBytes> buffer;
  std::span<std::byte> first_bytes(buffer);
  {
    const FileReader reader(path);
    first_bytes = first_bytes.first(std::min<std::uint64_t>(first_bytes.size(), reader.size()));
    reader.read(0, first_bytes);
  }
  const std::string_view text = text_of(first_bytes);
  // Before the others: the length of a header may begin with the bytes of a pickle.
  if (is_safetensors(text)) return open_safetensors(path, options);
  if (is_pytorch_zip(first_bytes)) return open_pytorch_zip(MappedFile::open(path), options);
  if (is_pytorch_legacy(first_bytes)) return open_pytorch_legacy(MappedFile::open(path), options);
  if (is_json(text)) return open_index(path, options);

  for (const OtherKind& kind : kOtherKinds) {
    if (text.starts_with(kind.first_bytes)) {
      throw Error(ErrorCode::kUnsupported, fmt::format("'{}' is {}", path.string(), kind.text));
    }
  }
  constexpr std::size_t kTarSignature = 257;
  if (text.size() > kTarSignature && text.substr(kTarSignature).starts_with("ustar")) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("'{}' is a tar archive: unpack it first, or load and save it anew in Python if it is a "
                            "PyTorch file of 2016",
                            path.string()));
  }
  throw Error(ErrorCode::kDamaged,
              fmt::format("'{}' {}", path.string(),
                          text.empty() ? "is empty; was the download cut short?"
                                       : "is neither a safetensors nor a PyTorch file: it begins like none of them"));
}

}  // namespace convnext
