#include "io/shards.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <numeric>
#include <optional>
#include <set>

#include "convnext/error.h"
#include "core/hash.h"
#include "io/file.h"
#include "io/image_folder.h"
#include "io/tar.h"

namespace convnext {
namespace fs = std::filesystem;
namespace {

constexpr const char* kClassesFile = "classes.txt";
constexpr int kMaxClasses = 1'000'000;
constexpr std::size_t kMaxLabelBytes = std::size_t{64} << 10;

bool is_alphanumeric(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9'); }

// "imagenet1k-train-0000" has the word "train"; "constraints" has not.
bool has_word(std::string_view text, std::string_view word) {
  for (std::size_t at = text.find(word); at != std::string_view::npos; at = text.find(word, at + 1)) {
    const std::size_t end = at + word.size();
    if ((at == 0 || !is_alphanumeric(text[at - 1])) && (end == text.size() || !is_alphanumeric(text[end]))) return true;
  }
  return false;
}

std::string_view trimmed(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

std::optional<int> class_index(std::string_view text) {
  int index = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), index);
  if (error != std::errc() || end != text.data() + text.size() || index < 0) return std::nullopt;
  return index;
}

std::vector<std::string> read_class_list(const fs::path& path) {
  const std::string text = read_text(path);
  std::vector<std::string> classes;
  std::set<std::string_view> seen;
  for (std::size_t begin = 0; begin < text.size();) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    std::string_view line = std::string_view(text).substr(begin, end - begin);
    begin = end + 1;
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.empty() || !seen.insert(line).second || classes.size() == kMaxClasses) {
      throw Error(ErrorCode::kDamaged, fmt::format("'{}', line {}: expected the name of one more class, not '{}'",
                                                   path.string(), classes.size() + 1, line));
    }
    classes.emplace_back(line);
  }
  if (classes.empty()) throw Error(ErrorCode::kDamaged, fmt::format("'{}' lists no classes", path.string()));
  return classes;
}

// The members of one sample, as they come.
struct Group {
  std::string key;
  std::optional<TarMember> picture;
  std::optional<std::string> label;
  bool label_is_from_json = false;
};

// Samples whose labels are texts still: whether "7" is an index or a name shows when all have been seen.
class ShardScan {
 public:
  void read(const fs::path& path) {
    TarReader archive(path);
    Group group;
    while (const std::optional<TarMember> member = archive.next()) {
      const std::size_t slash = member->name.rfind('/');
      const std::size_t base = slash == std::string::npos ? 0 : slash + 1;
      const std::size_t dot = member->name.find('.', base);
      if (dot == base || dot == std::string::npos) continue;  // a hidden file, or no part of a sample
      const std::string_view key = std::string_view(member->name).substr(0, dot);
      if (key != group.key) {
        finish(path, group);
        group = {.key = std::string(key), .picture = {}, .label = {}};
      }
      take(path, archive, *member, member->name.substr(dot), group);
    }
    finish(path, group);
  }

  std::vector<Sample>& samples() { return samples_; }
  // The texts of labels, each with the number that its samples have for the time being.
  const std::map<std::string, int, std::less<>>& labels() const { return labels_; }
  // Where a label was seen first.
  const PictureFile& example(int label) const { return std::ranges::find(samples_, label, &Sample::label)->picture; }

 private:
  static void take(const fs::path& path, const TarReader& archive, const TarMember& member,
                   const std::string& extension, Group& group) {
    if (extension == ".cls") {
      group.label = std::string(trimmed(archive.read_text(member, kMaxLabelBytes)));
      group.label_is_from_json = false;
    } else if (extension == ".json" && !group.label && member.size <= kMaxLabelBytes) {
      group.label = json_label(archive.read_text(member, kMaxLabelBytes));
      group.label_is_from_json = true;
    } else if (extension.rfind('.') == 0 && has_picture_extension("x" + extension)) {  // not KEY.mask.png
      if (group.picture) {
        throw Error(ErrorCode::kMismatch, fmt::format("'{}': '{}' and '{}' are pictures of one sample", path.string(),
                                                      group.picture->name, member.name));
      }
      group.picture = member;
    }
  }

  // "label", a number or a text; nothing when there is none.
  static std::optional<std::string> json_label(const std::string& text) {
    const auto json = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
    if (!json.is_object() || !json.contains("label")) return std::nullopt;
    const auto& label = json["label"];
    if (label.is_string()) return label.get<std::string>();
    if (label.is_number_integer()) return label.dump();
    return std::nullopt;
  }

  void finish(const fs::path& path, Group& group) {
    if (!group.picture && !group.label) return;
    if (!group.picture) {
      if (group.label_is_from_json) return;  // a description of something else
      throw Error(ErrorCode::kMismatch,
                  fmt::format("'{}': '{}.cls' stands without a picture (jpg, png, webp)", path.string(), group.key));
    }
    if (!group.label || group.label->empty()) {
      throw Error(ErrorCode::kMismatch, fmt::format("'{}': '{}' has no label: expected '{}.cls' beside it",
                                                    path.string(), group.picture->name, group.key));
    }
    const auto number = static_cast<int>(labels_.size());
    const int label = labels_.try_emplace(*std::move(group.label), number).first->second;
    samples_.push_back({.picture = {.path = path,
                                    .member = std::move(group.picture->name),
                                    .offset = group.picture->offset,
                                    .size = group.picture->size},
                        .label = label});
  }

  std::vector<Sample> samples_;
  std::map<std::string, int, std::less<>> labels_;
};

// "0", "1", ... up to the largest label.
std::vector<std::string> numbered_classes(const ShardScan& scan) {
  int largest = 0;
  for (const auto& [text, number] : scan.labels()) {
    const int index = *class_index(text);
    if (index >= kMaxClasses) {
      throw Error(ErrorCode::kDamaged, fmt::format("'{}': {} is no index of a class: there may be {}",
                                                   scan.example(number).name(), index, kMaxClasses));
    }
    largest = std::max(largest, index);
  }
  std::vector<std::string> classes;
  for (int i = 0; i <= largest; ++i) classes.push_back(fmt::format("{}", i));
  return classes;
}

// The order of `count` things by a hash of their place: mix() is a bijection, so that no two are equal.
std::vector<std::size_t> shuffled(std::size_t count, std::uint64_t seed) {
  std::vector<std::size_t> order(count);
  std::iota(order.begin(), order.end(), std::size_t{0});
  const std::uint64_t key = mix(seed);
  std::ranges::sort(order, {}, [key](std::size_t i) { return mix(key + i); });
  return order;
}

void write_class_list(const fs::path& path, std::span<const std::string> classes) {
  std::string text;
  for (const std::string& name : classes) {
    if (name.find_first_of("\r\n") != std::string::npos) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("the class '{}' has a line break in its name: rename its folder", name));
    }
    text += name + '\n';
  }
  write_file_atomically(path, text);
}

// A picture ready to be packed.
struct PackedPicture {
  std::string key;
  std::string label;
  std::vector<std::byte> bytes;
  std::string_view extension;

  std::uint64_t size() const { return TarWriter::member_bytes(bytes.size()) + TarWriter::member_bytes(label.size()); }
};

}  // namespace

std::vector<fs::path> list_shards(const fs::path& folder, std::string_view word) {
  std::vector<fs::path> shards;
  fs::path compressed;
  std::error_code error;
  for (fs::directory_iterator it(folder, error), end; !error && it != end; it.increment(error)) {
    const fs::path& path = it->path();
    const std::string name = path.filename().string();
    std::error_code ignored;
    if (name.starts_with('.') || !(word.empty() || has_word(path.stem().string(), word)) ||
        !it->is_regular_file(ignored)) {
      continue;
    }
    if (name.ends_with(".tar")) shards.push_back(path);
    if (name.ends_with(".tar.gz") || name.ends_with(".tgz")) compressed = path;
  }
  if (error) {
    throw Error(ErrorCode::kIo, fmt::format("cannot read the folder '{}': {}", folder.string(), error.message()));
  }
  if (shards.empty() && !compressed.empty()) {
    throw Error(ErrorCode::kUnsupported,
                fmt::format("'{}': the pictures of compressed shards cannot be found by their place: unpack it to a "
                            ".tar with gunzip",
                            compressed.string()));
  }
  std::ranges::sort(shards);
  return shards;
}

Dataset read_shards(std::span<const fs::path> shards, std::span<const std::string> classes) {
  ShardScan scan;
  for (const fs::path& shard : shards) scan.read(shard);
  if (scan.samples().empty()) {
    throw Error(ErrorCode::kMismatch,
                fmt::format("'{}' and the {} shards beside it hold no labelled pictures: expected KEY.jpg (or png, "
                            "webp) with KEY.cls",
                            shards.front().string(), shards.size() - 1));
  }
  const fs::path list = shards.front().parent_path() / kClassesFile;
  std::error_code error;
  std::vector<std::string> own;  // what an index counts
  if (fs::exists(list, error)) own = read_class_list(list);

  // Without a list numbers count the classes; beside a single name, "911" is one too.
  const bool are_numbers = own.empty() && std::ranges::all_of(scan.labels(), [](const auto& entry) {
                             return class_index(entry.first).has_value();
                           });
  const bool has_list = !own.empty();
  if (are_numbers) {
    own = numbered_classes(scan);
  } else if (!has_list) {
    for (const auto& entry : scan.labels()) own.push_back(entry.first);  // sorted, as class folders are
  }

  Dataset dataset;
  dataset.classes = classes.empty() ? own : std::vector<std::string>(classes.begin(), classes.end());
  dataset.has_class_names = !are_numbers || !classes.empty();
  std::map<std::string_view, int> places;
  for (std::size_t i = 0; i < dataset.classes.size(); ++i) places.emplace(dataset.classes[i], static_cast<int>(i));
  const auto place_of = [&](std::string_view text) -> std::optional<int> {
    const std::optional<int> index = class_index(text);
    if (are_numbers) return *index < static_cast<int>(dataset.classes.size()) ? index : std::nullopt;
    if (has_list && index) {
      if (*index >= static_cast<int>(own.size())) return std::nullopt;
      text = own[static_cast<std::size_t>(*index)];
    }
    const auto found = places.find(text);
    return found == places.end() ? std::nullopt : std::optional(found->second);
  };

  std::vector<int> place_of_label(scan.labels().size());
  for (const auto& [text, number] : scan.labels()) {
    const std::optional<int> place = place_of(text);
    if (!place) {
      throw Error(ErrorCode::kMismatch,
                  fmt::format("'{}': its class '{}' is not one of the {} known ({}, ...)", scan.example(number).name(),
                              text, dataset.classes.size(), dataset.classes.front()));
    }
    place_of_label[static_cast<std::size_t>(number)] = *place;
  }
  dataset.samples = std::move(scan.samples());
  for (Sample& sample : dataset.samples) sample.label = place_of_label[static_cast<std::size_t>(sample.label)];
  return dataset;
}

PackedShards write_shards(const Dataset& dataset, const fs::path& folder, const ShardOptions& options,
                          const std::function<void(std::string_view failure)>& done) {
  PackedShards packed;
  if (dataset.has_class_names) write_class_list(folder / kClassesFile, dataset.classes);
  const std::vector<std::size_t> order = shuffled(dataset.samples.size(), options.seed);
  std::size_t place = 0;
  std::string first_failure;
  // The next picture that can be read.
  const auto following = [&]() -> std::optional<PackedPicture> {
    while (place < order.size()) {
      const Sample& sample = dataset.samples[order[place]];
      PackedPicture picture;
      picture.key = fmt::format("{:09}", place);
      picture.label = fmt::format("{}", sample.label);
      ++place;
      try {
        picture.bytes = read_bytes(sample.picture);
        picture.extension = extension_of(read_picture_header(picture.bytes, sample.picture.name()).format);
      } catch (const Error& error) {
        ++packed.failed;
        if (first_failure.empty()) first_failure = error.what();
        done(error.what());
        continue;
      }
      return picture;
    }
    return std::nullopt;
  };

  std::optional<PackedPicture> next = following();
  if (!next) {
    throw Error(ErrorCode::kDamaged,
                fmt::format("none of the {} pictures could be read; the first: {}", order.size(), first_failure));
  }
  while (next) {
    const fs::path path = folder / fmt::format("{}-{:06}.tar", options.name, packed.shards);
    write_file_atomically(path, [&](const ByteSink& sink) {
      TarWriter archive(sink);
      std::uint64_t bytes = 2 * TarWriter::member_bytes(0);  // its end
      for (std::int64_t count = 0; next; ++count) {
        const bool is_full =
            bytes + next->size() > options.max_bytes || (options.max_pictures > 0 && count == options.max_pictures);
        if (count > 0 && is_full) break;
        archive.add(fmt::format("{}.{}", next->key, next->extension), next->bytes);
        archive.add(next->key + ".cls", next->label);
        bytes += next->size();
        ++packed.pictures;
        done({});
        next = following();
      }
      archive.finish();
      packed.bytes += bytes;
    });
    ++packed.shards;
  }
  return packed;
}

}  // namespace convnext
