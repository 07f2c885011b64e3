#include "io/safetensors.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string_view>
#include <utility>

#include "convnext/error.h"
#include "core/progress.h"
#include "io/bytes.h"
#include "io/file_limits.h"
#include "io/quoted.h"

namespace convnext {
namespace {

constexpr std::uint64_t kLengthBytes = 8;
constexpr std::uint64_t kMaxWrittenHeaderBytes = 100'000'000;  // the format's own limit, which other readers keep to
constexpr std::size_t kMaxAxes = 64;  // more than any framework makes; keeps a hostile shape from growing
constexpr std::string_view kMetadataKey = "__metadata__";

constexpr std::array kReadTypes = {DType::kBool, DType::kU8,  DType::kI8,  DType::kU16, DType::kI16,
                                   DType::kU32,  DType::kI32, DType::kU64, DType::kI64, DType::kF16,
                                   DType::kBF16, DType::kF32, DType::kF64};
// Types of the format that have no place in this library.
struct UnreadType {
  std::string_view name;
  int bits;
};
constexpr std::array kUnreadTypes = {
    UnreadType{"C64", 64},    UnreadType{"F8_E5M2", 8},     UnreadType{"F8_E4M3", 8},
    UnreadType{"F8_E8M0", 8}, UnreadType{"F8_E4M3FNUZ", 8}, UnreadType{"F8_E5M2FNUZ", 8},
    UnreadType{"F6_E2M3", 6}, UnreadType{"F6_E3M2", 6},     UnreadType{"F4", 4},
};

struct Entry {
  std::string name;
  std::optional<std::string> dtype;
  std::optional<std::vector<std::uint64_t>> shape;
  std::optional<std::vector<std::uint64_t>> offsets;
};

// Follows the parser through the header, and stops it at the first thing that does not belong there. Building a tree
// first would lose duplicate keys, and let a file choose how deep and how large the tree gets.
class HeaderReader : public nlohmann::json_sax<nlohmann::json> {
 public:
  // `source` names the file in messages.
  HeaderReader(std::string_view source, const FileLimits& limits) : source_(source), limits_(limits) {}

  std::vector<Entry> entries;
  std::map<std::string, std::string> metadata;
  std::string problem;  // set when parsing stops

  bool null() override { return unexpected("null"); }
  bool boolean(bool) override { return unexpected("a boolean"); }
  bool number_integer(number_integer_t value) override { return unexpected(fmt::format("{}", value)); }
  bool number_float(number_float_t, const string_t& text) override { return unexpected(text); }
  bool binary(binary_t&) override { return unexpected("binary data"); }

  bool number_unsigned(number_unsigned_t value) override {
    if (place_ != Place::kList) return unexpected(fmt::format("{}", value));
    if (list().size() == kMaxAxes) return stop(fmt::format("{} has more than {} numbers", where(), kMaxAxes));
    list().push_back(value);
    return true;
  }

  bool string(string_t& value) override {
    if (place_ == Place::kMetadata) {
      metadata[key_] = std::move(value);
      return true;
    }
    if (place_ != Place::kTensor || key_ != "dtype") return unexpected("a string");
    entries.back().dtype = std::move(value);
    return true;
  }

  bool start_object(std::size_t) override {
    switch (place_) {
      case Place::kStart:
        place_ = Place::kHeader;
        return true;
      case Place::kHeader:
        place_ = key_ == kMetadataKey ? Place::kMetadata : Place::kTensor;
        return true;
      default:
        return unexpected("an object");
    }
  }

  bool key(string_t& key) override {
    key_ = std::move(key);
    switch (place_) {
      case Place::kHeader:
        if (key_ == kMetadataKey) {
          if (std::exchange(has_metadata_, true)) return stop(fmt::format("{} stands twice", in_quotes(key_)));
        } else {
          // Doubles among the tensors are found once all are known, by sorting.
          entries.push_back({key_, {}, {}, {}});
          if (std::cmp_greater(entries.size(), limits_.max_tensors)) {
            throw_too_many_tensors(source_, key_, entries.size(), limits_);
          }
        }
        return true;
      case Place::kMetadata:
        return !metadata.contains(key_) || stop(fmt::format("{} stands twice in {}", in_quotes(key_), kMetadataKey));
      default: {
        Entry& entry = entries.back();
        const bool known = key_ == "dtype" || key_ == "shape" || key_ == "data_offsets";
        if (!known)
          return stop(fmt::format("tensor {} has an unknown field {}", in_quotes(entry.name), in_quotes(key_)));
        const bool twice = key_ == "dtype"   ? entry.dtype.has_value()
                           : key_ == "shape" ? entry.shape.has_value()
                                             : entry.offsets.has_value();
        return !twice || stop(fmt::format("{} stands twice", where()));
      }
    }
  }

  bool end_object() override {
    if (place_ == Place::kTensor) {
      const Entry& entry = entries.back();
      if (!entry.dtype || !entry.shape || !entry.offsets) {
        const std::string_view missing = !entry.dtype ? "dtype" : !entry.shape ? "shape" : "data_offsets";
        return stop(fmt::format("tensor {} has no {}", in_quotes(entry.name), missing));
      }
    }
    place_ = Place::kHeader;  // or the end: only white space may follow it
    return true;
  }

  bool start_array(std::size_t) override {
    if (place_ != Place::kTensor || key_ == "dtype") return unexpected("a list");
    (key_ == "shape" ? entries.back().shape : entries.back().offsets).emplace();
    place_ = Place::kList;
    return true;
  }

  bool end_array() override {
    place_ = Place::kTensor;
    return key_ != "data_offsets" || list().size() == 2 || stop(fmt::format("{} are not two numbers", where()));
  }

  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) override {
    const std::string_view what = error.what();
    const std::size_t text = what.rfind("; last read");
    const std::size_t start = what.rfind(": ", text);
    return stop(fmt::format("the header is not valid JSON at its byte {}{}", position,
                            start == std::string_view::npos ? "" : what.substr(start, text - start)));
  }

 private:
  enum class Place { kStart, kHeader, kMetadata, kTensor, kList };

  std::vector<std::uint64_t>& list() {
    Entry& entry = entries.back();
    return key_ == "shape" ? *entry.shape : *entry.offsets;
  }

  std::string where() const {
    switch (place_) {
      case Place::kStart:
        return "the header";
      case Place::kHeader:
        return fmt::format("the entry of {}", in_quotes(key_));
      case Place::kMetadata:
        return fmt::format("{} of {}", in_quotes(key_), kMetadataKey);
      default:
        return fmt::format("{} of tensor {}", key_, in_quotes(entries.back().name));
    }
  }

  bool stop(std::string text) {
    problem = std::move(text);
    return false;
  }

  bool unexpected(std::string_view what) {
    const bool text = place_ == Place::kMetadata || (place_ == Place::kTensor && key_ == "dtype");
    const std::string_view expected = text                       ? "a string"
                                      : place_ == Place::kTensor ? "a list of whole numbers"
                                      : place_ == Place::kList   ? "a whole number"
                                                                 : "an object";
    return stop(fmt::format("{} is {}, expected {}", where(), what.substr(0, 40), expected));
  }

  const std::string_view source_;
  const FileLimits& limits_;
  Place place_ = Place::kStart;
  std::string key_;
  bool has_metadata_ = false;
};

[[noreturn]] void throw_damaged(const std::filesystem::path& path, std::string_view what) {
  throw Error(ErrorCode::kDamaged, fmt::format("'{}' is not a whole safetensors file: {}", path.string(), what));
}

struct ElementType {
  std::optional<DType> dtype;  // nothing where it is not read
  int bits = 0;
};

ElementType type_of(const Entry& entry, const std::filesystem::path& path) {
  for (const DType dtype : kReadTypes) {
    if (name_of(dtype) == *entry.dtype) return {dtype, static_cast<int>(8 * size_of(dtype))};
  }
  for (const UnreadType& type : kUnreadTypes) {
    if (type.name == *entry.dtype) return {std::nullopt, type.bits};
  }
  throw_damaged(path,
                fmt::format("tensor {} has the unknown dtype {}", in_quotes(entry.name), in_quotes(*entry.dtype)));
}

// Bytes that the entry's shape asks for; `shape` gets the sizes. None when 63 bits cannot count them.
std::optional<std::uint64_t> bytes_needed(const Entry& entry, int element_bits, Shape& shape) {
  for (const std::uint64_t size : *entry.shape) {
    if (!std::in_range<std::int64_t>(size)) return std::nullopt;
    shape.push_back(static_cast<std::int64_t>(size));
  }
  try {
    // Eight elements fill whole bytes, whatever their bits.
    const std::int64_t count = element_count(shape);
    std::int64_t bytes = 0;
    if (__builtin_mul_overflow(count / 8, std::int64_t{element_bits}, &bytes) ||
        __builtin_add_overflow(bytes, (count % 8 * element_bits + 7) / 8, &bytes)) {
      return std::nullopt;
    }
    return static_cast<std::uint64_t>(bytes);
  } catch (const Error&) {
    return std::nullopt;
  }
}

void check_no_name_twice(const std::vector<Entry>& entries, const std::filesystem::path& path) {
  std::vector<std::string_view> names;
  names.reserve(entries.size());
  for (const Entry& entry : entries) names.push_back(entry.name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice != names.end()) throw_damaged(path, fmt::format("tensor {} stands twice in the header", in_quotes(*twice)));
}

}  // namespace

SafetensorsFile SafetensorsFile::open(const std::filesystem::path& path, const FileLimits& limits) {
  SafetensorsFile result;
  result.file_ = MappedFile::open(path);
  const std::span<const std::byte> bytes = result.file_.bytes();
  if (bytes.size() < kLengthBytes) {
    throw_damaged(path, bytes.empty() ? "it is empty" : fmt::format("it has only {} bytes", bytes.size()));
  }
  const std::uint64_t header_bytes = little_endian(bytes, 0, kLengthBytes);
  if (header_bytes > bytes.size() - kLengthBytes) {
    throw_damaged(path, fmt::format("it promises a header of {} bytes and has {} bytes behind the length; was the "
                                    "download cut short?",
                                    header_bytes, bytes.size() - kLengthBytes));
  }
  const std::string source = fmt::format("'{}'", path.string());
  if (std::cmp_greater(header_bytes, limits.max_header_bytes)) {
    throw_beyond_limit(source,
                       fmt::format("the header is {} bytes", format_count(static_cast<std::int64_t>(header_bytes))),
                       limits, &FileLimits::max_header_bytes);
  }
  const char* const header = reinterpret_cast<const char*>(bytes.data()) + kLengthBytes;
  if (header_bytes == 0 || *header != '{') throw_damaged(path, "its header does not begin with '{'");

  HeaderReader reader(source, limits);
  if (!nlohmann::json::sax_parse(header, header + header_bytes, &reader)) throw_damaged(path, reader.problem);
  check_no_name_twice(reader.entries, path);

  // In the order of their bytes; a tensor without bytes comes before the one that begins at the same place.
  std::sort(reader.entries.begin(), reader.entries.end(),
            [](const Entry& a, const Entry& b) { return *a.offsets < *b.offsets; });
  const std::span<const std::byte> data = bytes.subspan(kLengthBytes + header_bytes);
  std::uint64_t covered = 0;
  std::string_view previous;
  for (const Entry& entry : reader.entries) {
    const ElementType type = type_of(entry, path);
    const std::uint64_t begin = (*entry.offsets)[0];
    const std::uint64_t end = (*entry.offsets)[1];
    const std::string name = in_quotes(entry.name);
    if (end < begin) throw_damaged(path, fmt::format("tensor {} ends at {} before it begins at {}", name, end, begin));
    if (begin < covered) {
      throw_damaged(path, fmt::format("tensor {} begins at {}, inside of tensor {}, which ends at {}", name, begin,
                                      in_quotes(previous), covered));
    }
    if (begin > covered) {
      throw_damaged(path, fmt::format("the bytes from {} to {} before tensor {} belong to none", covered, begin, name));
    }
    if (end > data.size()) {
      throw_damaged(path, fmt::format("tensor {} ends at {}, and there are {} bytes of data; was the download cut "
                                      "short?",
                                      name, end, data.size()));
    }
    Shape shape;
    const auto needed = bytes_needed(entry, type.bits, shape);
    if (needed != end - begin) {
      throw_damaged(path, fmt::format("tensor {} has {} bytes, but ({}) of {} {}", name, end - begin,
                                      fmt::join(*entry.shape, ", "), *entry.dtype,
                                      needed ? fmt::format("takes {}", *needed) : "is more than any file holds"));
    }
    if (type.dtype) {
      Shape strides = contiguous_strides(shape);
      result.tensors_[entry.name] = {data.data() + begin, *type.dtype, Layout::kRowMajor, std::move(shape),
                                     std::move(strides)};
    } else {
      result.unread_[entry.name] = *entry.dtype;
    }
    covered = end;
    previous = entry.name;
  }
  if (covered != data.size()) {
    throw_damaged(path, fmt::format("{} bytes behind the last tensor belong to none", data.size() - covered));
  }
  result.metadata_ = std::move(reader.metadata);
  return result;
}

void write_safetensors(const std::filesystem::path& path, const std::map<std::string, ConstTensorView>& tensors,
                       const std::map<std::string, std::string>& metadata) {
  const auto refuse = [&](std::string_view what) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("cannot write '{}': {}", path.string(), what));
  };
  std::vector<const std::pair<const std::string, ConstTensorView>*> order;
  for (const auto& tensor : tensors) {
    if (tensor.first == kMetadataKey) refuse(fmt::format("a tensor cannot be called {}", kMetadataKey));
    if (!tensor.second.is_contiguous()) refuse(fmt::format("tensor {} is not contiguous", in_quotes(tensor.first)));
    if (tensor.second.shape.size() > kMaxAxes) {
      refuse(fmt::format("tensor {} has more than {} axes", in_quotes(tensor.first), kMaxAxes));
    }
    order.push_back(&tensor);
  }
  std::stable_sort(order.begin(), order.end(),
                   [](const auto* a, const auto* b) { return size_of(a->second.dtype) > size_of(b->second.dtype); });

  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header[std::string(kMetadataKey)] = metadata;
  std::size_t offset = 0;
  for (const auto* tensor : order) {
    const ConstTensorView& view = tensor->second;
    const std::size_t end = offset + static_cast<std::size_t>(view.count()) * size_of(view.dtype);
    header[tensor->first] = {{"dtype", name_of(view.dtype)}, {"shape", view.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text;
  try {
    text = header.dump();
  } catch (const nlohmann::json::exception&) {
    refuse("the name of a tensor or its metadata is not valid UTF-8");
  }
  text.append((kLengthBytes - text.size() % kLengthBytes) % kLengthBytes, ' ');  // the data begins aligned
  if (text.size() > kMaxWrittenHeaderBytes) refuse("names and metadata make a header above 100,000,000 bytes");

  write_file_atomically(path, [&](const ByteSink& sink) {
    std::string length;
    append_little_endian(length, text.size(), kLengthBytes);
    sink(bytes_of(length));
    sink(bytes_of(text));
    for (const auto* tensor : order) {
      const ConstTensorView& view = tensor->second;
      sink({view.data, static_cast<std::size_t>(view.count()) * size_of(view.dtype)});
    }
  });
}

}  // namespace convnext
