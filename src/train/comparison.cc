#include "train/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <span>
#include <utility>

#include "convnext/error.h"
#include "core/names.h"
#include "model/description.h"
#include "model/published.h"

namespace convnext {
namespace {

enum class Preset { kTable1, kTable1Pretrained, kTable2, kTable12, kCpu };

constexpr std::array kPresets = {
    Named<Preset>{Preset::kTable1, "table1"}, Named<Preset>{Preset::kTable1Pretrained, "table1_22k"},
    Named<Preset>{Preset::kTable2, "table2"}, Named<Preset>{Preset::kTable12, "table12"},
    Named<Preset>{Preset::kCpu, "cpu"},
};

std::string_view what_is(Preset preset) {
  switch (preset) {
    case Preset::kTable1:
      return "Table 1 of the paper, trained on ImageNet-1K";
    case Preset::kTable1Pretrained:
      return "Table 1, trained on ImageNet-22K first";
    case Preset::kTable2:
      return "Table 2, isotropic ConvNeXt and ViT";
    case Preset::kTable12:
      return "Table 12, ConvNeXt and Swin on an A100";
    case Preset::kCpu:
      return "networks of about ConvNeXt-T's cost, a family each";
  }
  return "";
}

// ConvNeXt-T and what costs about as much, a family each.
constexpr std::array<std::string_view, 7> kNetworksForACpu = {
    "resnet50",      "regnety_040",     "deit_small_patch16_224",  "swin_tiny_patch4_window7_224",
    "convnext_tiny", "convnextv2_tiny", "convnext_isotropic_small"};

// A network of a preset.
struct Listed {
  std::string_view architecture;
  int resolution = 224;
  const PaperFigures* paper = nullptr;  // null outside the paper's tables
};

std::vector<Listed> networks_listed(Preset preset) {
  std::vector<Listed> listed;
  const auto keep = [&listed](std::span<const PaperFigures> table, auto wanted) {
    for (const PaperFigures& row : table) {
      if (wanted(row)) listed.push_back({row.architecture, row.resolution, &row});
    }
  };
  switch (preset) {
    case Preset::kTable1:
      keep(paper_table_1(), [](const PaperFigures& row) { return row.pretraining == Pretraining::kNone; });
      break;
    case Preset::kTable1Pretrained:
      keep(paper_table_1(), [](const PaperFigures& row) { return row.pretraining == Pretraining::kImageNet22k; });
      break;
    case Preset::kTable2:
      keep(paper_table_2(), [](const PaperFigures&) { return true; });
      break;
    case Preset::kTable12:
      keep(paper_table_1(), [](const PaperFigures& row) { return row.a100 > 0; });
      break;
    case Preset::kCpu:
      for (const std::string_view name : kNetworksForACpu) listed.push_back({.architecture = name});
      break;
  }
  return listed;
}

// The registry's accuracy where the paper has none. It holds at the resolution that those weights were evaluated at.
void add_registered_top1(ComparedNetwork& network) {
  const RegistryEntry& entry = *network.entry;
  if (!entry.top1 || entry.preprocessing.resolution != network.resolution) return;
  const PublishedWeights* weights = find_published(entry.name, entry.published_weights);
  const std::string data = weights != nullptr ? training_data(*weights) : "";
  // One collection, which the authors of ViT and EfficientNet call 21K.
  const bool pretrained = data.starts_with("ImageNet-22K") || data.starts_with("ImageNet-21K");
  (pretrained ? network.top1_22k : network.top1) = entry.top1;
}

NetworkCost cost_of(const ComparedNetwork& network) try {
  return count_cost(network.config, network.resolution, network.resolution);
} catch (const Error& error) {
  throw Error(error.code(), fmt::format("{}: {}", network.model, error.what()));
}

std::optional<double> quotient(double a, double b) {
  if (a > 0 && b > 0) return a / b;
  return {};
}

}  // namespace

double ComparedNetwork::total_gmac() const {
  if (entry == nullptr) return paper != nullptr ? paper->gmac : 0.0;
  return gmac + gmac_attention;
}

double ComparedNetwork::millions_of_params() const {
  if (entry == nullptr) return paper != nullptr ? paper->params : 0.0;
  return 1e-6 * static_cast<double>(params);
}

ComparedNetwork describe_network(std::string model, const RegistryEntry& entry, const NetworkConfig& config,
                                 int resolution) {
  ComparedNetwork network;
  network.model = std::move(model);
  network.entry = &entry;
  network.config = config;
  network.resolution = resolution;
  const NetworkCost cost = cost_of(network);
  network.params = cost.params;
  network.gmac = cost.gmac;
  network.gmac_attention = cost.gmac_attention;
  if (config != entry.network) return network;

  const PaperFigures* own = paper_figures(entry.name, resolution, Pretraining::kNone);
  const PaperFigures* pretrained = paper_figures(entry.name, resolution, Pretraining::kImageNet22k);
  if (own != nullptr) network.top1 = own->top1;
  if (pretrained != nullptr) network.top1_22k = pretrained->top1;
  network.paper = own != nullptr ? own : pretrained;
  network.paper_speed = paper_speed(entry.name, resolution);
  if (network.paper == nullptr) add_registered_top1(network);
  return network;
}

ComparedNetwork describe_network(const PaperFigures& figures) {
  ComparedNetwork network;
  network.model = figures.name;
  network.resolution = figures.resolution;
  (figures.pretraining == Pretraining::kNone ? network.top1 : network.top1_22k) = figures.top1;
  network.paper = &figures;
  network.paper_speed = {.v100 = figures.v100, .a100 = figures.a100, .training_memory = figures.training_memory};
  return network;
}

const std::vector<ComparisonPreset>& comparison_presets() {
  static const std::vector<ComparisonPreset> presets = [] {
    std::vector<ComparisonPreset> all;
    for (const Named<Preset>& preset : kPresets) all.push_back({preset.name, what_is(preset.value)});
    return all;
  }();
  return presets;
}

std::vector<ComparedNetwork> networks_of_preset(std::string_view preset, std::optional<int> resolution) {
  std::vector<ComparedNetwork> networks;
  for (const Listed& listed : networks_listed(find_value(kPresets, preset, "the preset"))) {
    const RegistryEntry* entry = find_architecture(listed.architecture);
    if (entry == nullptr) {
      if (listed.paper != nullptr) networks.push_back(describe_network(*listed.paper));
      continue;
    }
    ComparedNetwork network =
        describe_network(entry->name, *entry, entry->network, resolution.value_or(listed.resolution));
    const bool known = std::ranges::any_of(networks, [&](const ComparedNetwork& other) {
      return other.entry == entry && other.resolution == network.resolution;
    });
    if (!known) networks.push_back(std::move(network));
  }
  return networks;
}

std::vector<SpeedRatio> speed_ratios(const std::vector<ComparisonRow>& rows) {
  // Of the network's row by that backend.
  const auto speed_of = [&rows](const ComparedNetwork& network, std::string_view backend) {
    for (const ComparisonRow& row : rows) {
      const bool same = row.network.model == network.model && row.network.resolution == network.resolution;
      if (same && row.speed && row.speed->backend == backend) return row.speed->pictures_per_second();
    }
    return 0.0;
  };
  std::vector<SpeedRatio> ratios;
  for (const ComparisonRow& row : rows) {
    const ComparedNetwork& network = row.network;
    if (network.entry == nullptr) continue;
    const std::string_view rival_name = rival_of(network.entry->name, network.resolution);
    const auto rival = std::ranges::find_if(rows, [&](const ComparisonRow& other) {
      return other.network.entry != nullptr && other.network.entry->name == rival_name &&
             other.network.resolution == network.resolution;
    });
    const bool known = std::ranges::any_of(ratios, [&](const SpeedRatio& ratio) {
      return ratio.model == network.model && ratio.resolution == network.resolution;
    });
    if (rival_name.empty() || rival == rows.end() || known) continue;
    const double rival_speed = speed_of(rival->network, "libtorch");
    const PaperSpeed &ours = network.paper_speed, &theirs = rival->network.paper_speed;
    ratios.push_back({.model = network.model,
                      .rival = rival->network.model,
                      .resolution = network.resolution,
                      .libtorch = quotient(speed_of(network, "libtorch"), rival_speed),
                      .engine = quotient(speed_of(network, "engine"), rival_speed),
                      .v100 = quotient(ours.v100, theirs.v100),
                      .a100 = quotient(ours.a100, theirs.a100)});
  }
  return ratios;
}

}  // namespace convnext
