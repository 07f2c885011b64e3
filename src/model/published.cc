#include "model/published.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <sstream>
#include <stdexcept>

#include "core/names.h"
#include "model/embedded.h"

namespace convnext {
namespace {

struct Values {
  std::array<float, 3> mean;
  std::array<float, 3> std;
};

constexpr std::array kValues = {
    Named<Values>{{.mean = {0.485f, 0.456f, 0.406f}, .std = {0.229f, 0.224f, 0.225f}}, "imagenet"},
    Named<Values>{{.mean = {0.5f, 0.5f, 0.5f}, .std = {0.5f, 0.5f, 0.5f}}, "inception"},
    Named<Values>{{.mean = {0.48145466f, 0.4578275f, 0.40821073f}, .std = {0.26862954f, 0.26130258f, 0.27577711f}},
                  "clip"}};

constexpr std::string_view kNothing = "-";

template <typename T>
T number(std::string_view text) {
  T value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size()) {
    throw std::logic_error(fmt::format("the table of published weights: '{}' is no number", text));
  }
  return value;
}

double percent(std::string_view text) { return text == kNothing ? 0.0 : number<double>(text); }
std::string unless_nothing(const std::string& text) { return text == kNothing ? std::string() : text; }

PublishedWeights read_row(const std::string& line) {
  std::istringstream in(line);
  std::string name, classes, pixels, crop, mode, filter, values, license, top1, timm, larger, place, file, repository;
  if (!(in >> name >> classes >> pixels >> crop >> mode >> filter >> values >> license >> top1 >> timm >> larger >>
        place >> file >> repository)) {
    throw std::logic_error("the table of published weights: a line is not whole: " + line);
  }
  PublishedWeights row;
  row.name = name;
  row.architecture = name.substr(0, name.find('.'));
  // The same topology without a classifier, which is registered by another name.
  if (row.tag().starts_with("dinov3_") || row.tag().starts_with("eupe_")) row.architecture.insert(0, "dinov3_");
  row.classes = number<int>(classes);
  const Values statistics = find_value(kValues, values, "the values");
  row.preprocessing = {.resolution = number<int>(pixels),
                       .mean = statistics.mean,
                       .std = statistics.std,
                       .interpolation = interpolation_from_name(filter),
                       .crop_fraction = number<double>(crop),
                       .crop_mode = crop_mode_from_name(mode)};
  row.license = license;
  row.top1 = {.published = percent(top1), .timm = percent(timm)};
  if (const std::size_t at = larger.find('@'); at != std::string::npos) {
    row.top1.at_larger = percent(std::string_view(larger).substr(0, at));
    row.top1.larger_resolution = number<int>(std::string_view(larger).substr(at + 1));
  }
  row.in_timm = place == "timm";
  row.file = unless_nothing(file);
  if (const std::size_t slash = row.file.rfind('/'); slash != std::string::npos) {
    row.folder = row.file.substr(0, slash);
    row.file.erase(0, slash + 1);
  }
  row.repository = unless_nothing(repository);
  return row;
}

std::vector<PublishedWeights> read_tables() {
  std::vector<PublishedWeights> rows;
  for (const std::span<const unsigned char> bytes : {embedded_published(), embedded_published_compared()}) {
    std::istringstream in(std::string(bytes.begin(), bytes.end()));
    for (std::string line; std::getline(in, line);) {
      if (!line.empty() && line.front() != '#') rows.push_back(read_row(line));
    }
  }
  return rows;
}

// What names differ in without meaning anything by it.
std::string plain(std::string_view name) {
  constexpr std::string_view kExtensions[] = {".safetensors", ".pth.tar", ".pth", ".pt", ".bin"};
  for (const std::string_view extension : kExtensions) {
    if (name.ends_with(extension)) {
      name.remove_suffix(extension.size());
      break;
    }
  }
  std::string result(name);
  for (char& c : result) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    if (c == '.' || c == '-') c = '_';
  }
  return result;
}

// "convnext-tiny-224" of "facebook/convnext-tiny-224".
std::string_view without_owner(std::string_view repository) { return repository.substr(repository.find('/') + 1); }

// timm's names of before 2023 had no tags: "convnext_tiny_384_in22ft1k".
struct OldEnding {
  std::string_view ending;
  std::string_view tag;
};
constexpr OldEnding kOldEndings[] = {{"_384_in22ft1k", "fb_in22k_ft_in1k_384"},  // before the one that it ends in
                                     {"_in22ft1k", "fb_in22k_ft_in1k"},
                                     {"_in22k", "fb_in22k"}};

const PublishedWeights* of_old_name(std::string_view name) {
  for (const OldEnding& old : kOldEndings) {
    if (name.ends_with(old.ending)) return find_published(name.substr(0, name.size() - old.ending.size()), old.tag);
  }
  return nullptr;
}

struct DataSet {
  std::string_view in_tag;
  std::string_view name;
};

// In the order in which they are trained on, whatever part of them a tag names.
constexpr DataSet kDataSets[] = {
    {"clip_laion2b", "LAION-2B (CLIP)"},
    {"clip_laiona", "LAION-Aesthetic (CLIP)"},
    {"dinov3_lvd1689m", "LVD-1689M (DINOv3)"},
    {"eupe_lvd1689m", "LVD-1689M (EUPE)"},
    {"fcmae", "ImageNet-1K (FCMAE, no labels)"},
    {"jft", "JFT-300M (no labels)"},
    {"in22k", "ImageNet-22K"},
    {"in21k", "ImageNet-21K"},
    {"in12k", "ImageNet-12K"},
    {"in1k", "ImageNet-1K"},
};

}  // namespace

const std::vector<PublishedWeights>& published_weights() {
  static const std::vector<PublishedWeights> rows = read_tables();
  return rows;
}

const PublishedWeights* find_published(std::string_view architecture, std::string_view tag) {
  const auto found = std::ranges::find_if(published_weights(), [&](const PublishedWeights& weights) {
    return weights.architecture == architecture && weights.tag() == tag;
  });
  return found == published_weights().end() ? nullptr : &*found;
}

const PublishedWeights* published_named(std::string_view name) {
  const std::string wanted = plain(name);
  if (wanted.empty()) return nullptr;
  const auto found = std::ranges::find_if(published_weights(), [&wanted](const PublishedWeights& weights) {
    return wanted == plain(weights.name) || wanted == plain(weights.file) ||
           wanted == plain(without_owner(weights.repository));
  });
  return found == published_weights().end() ? of_old_name(wanted) : &*found;
}

std::string training_data(const PublishedWeights& weights) {
  std::vector<std::string_view> names;
  for (const DataSet& set : kDataSets) {
    if (weights.tag().find(set.in_tag) != std::string_view::npos) names.push_back(set.name);
  }
  return fmt::format("{}", fmt::join(names, ", "));
}

std::string file_url(const PublishedWeights& weights) {
  const std::string& file = weights.file;
  if (file.empty()) return {};
  if (!weights.folder.empty()) return fmt::format("{}/{}", weights.folder, file);
  const auto at = [&file](std::string_view folder) { return fmt::format("https://{}/{}", folder, file); };
  if (weights.tag().starts_with("tv_")) return at("download.pytorch.org/models");
  // Given on request only.
  if (weights.tag().starts_with("dinov3_")) return {};
  if (weights.tag().starts_with("fcmae_ft_in1k")) return at("dl.fbaipublicfiles.com/convnext/convnextv2/im1k");
  if (weights.tag().starts_with("fcmae_ft_in22k")) return at("dl.fbaipublicfiles.com/convnext/convnextv2/im22k");
  if (weights.tag().starts_with("fcmae")) return at("dl.fbaipublicfiles.com/convnext/convnextv2/pt_only");
  if (weights.tag().starts_with("fb_")) return at("dl.fbaipublicfiles.com/convnext");
  return at("github.com/rwightman/pytorch-image-models/releases/download/v0.1-rsb-weights");
}

}  // namespace convnext
