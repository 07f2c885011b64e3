#include <fmt/format.h>
#include <fmt/ranges.h>
#include <fnmatch.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <nlohmann/json.hpp>
#include <optional>

#include "apps/commands.h"
#include "apps/detector_info.h"
#include "apps/options.h"
#include "apps/terminal.h"
#include "model/card.h"
#include "model/description.h"
#include "model/published.h"
#include "model/registry.h"

namespace convnext::apps {
namespace {

struct ListOptions {
  std::string filter;
  std::string family;
  bool published = false;
  bool markdown = false;
  bool json = false;
};

// A part of the name, or a pattern with * and ?.
bool matches(const std::string& name, const std::string& filter) {
  if (filter.find_first_of("*?[") != std::string::npos) return ::fnmatch(filter.c_str(), name.c_str(), 0) == 0;
  return name.find(filter) != std::string::npos;
}

constexpr std::string_view kDetectors = "detector";  // which are no family of networks, but listed beside them

bool is_listed(const ListOptions& options, const std::string& name, std::string_view family) {
  return matches(name, options.filter) && (options.family.empty() || options.family == family);
}
bool is_listed(const ListOptions& options, const std::string& name, Family family) {
  return is_listed(options, name, name_of(family));
}

// For the end of an error: "'tiny' in the family swin".
std::string wanted(const ListOptions& options) {
  return options.family.empty() ? fmt::format("'{}'", options.filter)
                                : fmt::format("'{}' in the family {}", options.filter, options.family);
}

// Why that is no family; empty when it is one. Asked only when the option is given: the registry is not for nothing.
std::string family_problem(const std::string& family) {
  if (family == kDetectors) return {};
  std::vector<std::string_view> names;
  for (const RegistryEntry& entry : registry()) {
    const std::string_view name = name_of(entry.family);
    if (name == family) return {};
    if (std::ranges::find(names, name) == names.end()) names.push_back(name);
  }
  names.push_back(kDetectors);
  return fmt::format("there is no family '{}': {}", family, fmt::join(names, ", "));
}

std::string top1_text(double percent) { return percent > 0 ? fmt::format("{:.2f}", percent) : ""; }

std::string crop_text(const Preprocessing& preprocessing) {
  const bool is_usual = preprocessing.interpolation == Interpolation::kBicubic;
  return fmt::format("{} {}{}", preprocessing.crop_fraction, name_of(preprocessing.crop_mode),
                     is_usual ? "" : fmt::format(", {}", name_of(preprocessing.interpolation)));
}

nlohmann::ordered_json to_json(const PublishedWeights& weights) {
  nlohmann::ordered_json row = {
      {"name", weights.name},
      {"architecture", weights.architecture},
      {"classes", weights.classes},
      {"preprocessing", nlohmann::ordered_json::parse(preprocessing_to_json(weights.preprocessing))},
      {"license", weights.license},
      {"data", training_data(weights)},
      {"in_timm", weights.in_timm}};
  const PublishedTop1& top1 = weights.top1;
  if (top1.published > 0) row["published_top1"] = top1.published;
  if (top1.timm > 0) row["timm_top1"] = top1.timm;
  if (top1.at_larger > 0) row["larger"] = {{"resolution", top1.larger_resolution}, {"timm_top1", top1.at_larger}};
  if (!weights.file.empty()) row["file"] = weights.file;
  if (const std::string url = file_url(weights); !url.empty()) row["url"] = url;
  if (!weights.repository.empty()) row["repository"] = weights.repository;
  return row;
}

// A table for docs/models.md, one a family.
class MarkdownTables {
 public:
  void add(const PublishedWeights& weights) {
    const Family family = architecture(weights.architecture).family;
    if (family != family_) {
      family_ = family;
      text_ += fmt::format(
          "{}### {}\n\n| weights | classes | input | crop | top-1 | timm's | trained on | licence | also as |\n"
          "|---|---|---|---|---|---|---|---|---|\n",
          text_.empty() ? "" : "\n", title(family));
    }
    const PublishedTop1& top1 = weights.top1;
    std::string timm = top1_text(top1.timm);
    if (top1.at_larger > 0) timm += fmt::format(", {:.2f} at {}", top1.at_larger, top1.larger_resolution);
    text_ += fmt::format("| {} | {} | {} | {} | {} | {} | {} | {} | {} |\n", link(weights), weights.classes,
                         input_text(weights.preprocessing), crop_text(weights.preprocessing), top1_text(top1.published),
                         timm, training_data(weights), weights.license, others(weights));
  }
  const std::string& text() const { return text_; }

 private:
  static std::string_view title(Family family) {
    switch (family) {
      case Family::kConvNext:
        return "ConvNeXt";
      case Family::kConvNextV2:
        return "ConvNeXt V2";
      case Family::kConvNextIsotropic:
        return "Isotropic ConvNeXt";
      case Family::kDinov3ConvNext:
        return "DINOv3 and EUPE";
      case Family::kResNet:
        return "ResNet and ResNeXt";
      case Family::kRegNet:
        return "RegNet";
      case Family::kEfficientNet:
        return "EfficientNet and EfficientNetV2";
      case Family::kVisionTransformer:
        return "ViT and DeiT";
      case Family::kSwin:
        return "Swin";
      case Family::kRoadmap:
        return "From ResNet to ConvNeXt";
    }
    return "";
  }

  // Mean and deviation are ImageNet's unless this says something else.
  static std::string input_text(const Preprocessing& preprocessing) {
    const std::string_view values = preprocessing.mean[0] == 0.5f                ? ", mean 0.5"
                                    : preprocessing.mean == Preprocessing().mean ? ""
                                                                                 : ", CLIP's mean";
    return fmt::format("{}{}", preprocessing.resolution, values);
  }

  static std::string link(const PublishedWeights& weights) {
    return weights.in_timm ? fmt::format("[{0}](https://huggingface.co/timm/{0})", weights.name) : weights.name;
  }

  // The makers' own file, and the repository beside timm's.
  static std::string others(const PublishedWeights& weights) {
    const std::string url = file_url(weights);
    std::string text = url.empty() ? weights.file : fmt::format("[{}]({})", weights.file, url);
    if (!weights.repository.empty()) {
      text += fmt::format("{}[{}](https://huggingface.co/{})", text.empty() ? "" : ", ", weights.repository,
                          weights.repository);
    }
    return text;
  }

  std::optional<Family> family_;
  std::string text_;
};

ExitCode list_published(const ListOptions& options) {
  using enum Table::Align;
  Table table(
      {{"name"}, {"classes", kRight}, {"pixels", kRight}, {"crop"}, {"top-1", kRight}, {"licence"}, {"also as"}});
  auto rows = nlohmann::ordered_json::array();
  MarkdownTables markdown;
  for (const PublishedWeights& weights : published_weights()) {
    if (!is_listed(options, weights.name, architecture(weights.architecture).family)) continue;
    const PublishedTop1& top1 = weights.top1;
    rows.push_back(to_json(weights));
    markdown.add(weights);
    table.add({weights.name, fmt::format("{}", weights.classes), fmt::format("{}", weights.preprocessing.resolution),
               crop_text(weights.preprocessing), top1_text(top1.timm > 0 ? top1.timm : top1.published), weights.license,
               weights.file.empty() ? weights.repository : weights.file});
  }
  if (options.json) {
    print_document(rows);
  } else if (!rows.empty()) {
    print(options.markdown ? markdown.text() : table.text());
  }
  if (!rows.empty()) return kDone;
  report(fmt::format("no published weights' name contains {}", wanted(options)));
  return kFailed;
}

ExitCode list(const ListOptions& options) {
  if (options.published) return list_published(options);
  using enum Table::Align;
  Table table({{"name"}, {"parameters", kRight}, {"GMAC", kRight}, {"pixels", kRight}, {"top-1", kRight}, {"weights"}});
  auto rows = nlohmann::ordered_json::array();
  for (const RegistryEntry& entry : registry()) {
    if (!is_listed(options, entry.name, entry.family)) continue;
    const int side = entry.preprocessing.resolution;
    const NetworkCost cost = count_cost(entry.network, side, side);
    nlohmann::ordered_json row = {{"name", entry.name},
                                  {"family", name_of(entry.family)},
                                  {"params", cost.params},
                                  {"gmac", cost.gmac},
                                  {"gmac_with_norms", cost.gmac_with_norms},
                                  {"resolution", side},
                                  {"classes", class_count(entry.network)}};
    if (cost.gmac_attention > 0) row["gmac_attention"] = cost.gmac_attention;
    if (entry.top1) row["published_top1"] = *entry.top1;
    if (!entry.published_weights.empty()) row["published_weights"] = entry.published_weights;
    rows.push_back(std::move(row));
    table.add({entry.name, format_count(cost.params), fmt::format("{:.3f}", cost.gmac + cost.gmac_attention),
               fmt::format("{}", side), entry.top1 ? fmt::format("{:.2f}", *entry.top1) : "", entry.published_weights});
  }
  for (const DetectorEntry& entry : detectors()) {
    if (!is_listed(options, entry.name, kDetectors)) continue;
    nlohmann::ordered_json row = detector_row(entry);
    table.add({entry.name, format_count(row["params"]), fmt::format("{:.1f}", row["gmac"].get<double>()),
               fmt::format("{}x{}", kCountedDetectorInput.width, kCountedDetectorInput.height), "", ""});
    rows.push_back(std::move(row));
  }
  if (options.json) {
    print_document(rows);
  } else if (!rows.empty()) {
    print(table.text());
  }
  if (!rows.empty()) return kDone;
  report(fmt::format("no network's name contains {}", wanted(options)));
  return kFailed;
}

}  // namespace

void add_list(CLI::App& program, Command& chosen) {
  auto options = std::make_shared<ListOptions>();
  CLI::App* command = program.add_subcommand("list", "List the networks that have a name");
  command->add_option("FILTER", options->filter, "A part of the name, or a pattern: 'convnextv2_*'");
  command->add_option("--family", options->family, "Only of this family: convnext, convnextv2, resnet, swin, ...")
      ->check(family_problem)
      ->type_name("FAMILY");
  CLI::Option* published =
      command->add_flag("--published", options->published, "List the weights that have been published instead");
  CLI::Option* markdown =
      command->add_flag("--markdown", options->markdown, "Write tables for a document")->needs(published);
  add_json_option(*command, options->json);
  markdown->excludes("--json");
  command->footer(
      "GMAC counts attention too, at the resolution in 'pixels'; JSON has it as a field of its own.\n"
      "Example: convnext list v2, or: convnext list --published in22k");
  command->callback([&chosen, options] { chosen = [options] { return list(*options); }; });
}

}  // namespace convnext::apps
