#include "train/comparison_figure.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <optional>
#include <string_view>

namespace convnext {
namespace {

struct Style {
  std::string name;
  Colour colour;
};

Style style_of(const ComparedNetwork& network) {
  if (network.entry == nullptr) return {"other", Colour::kGrey};
  switch (network.entry->family) {
    case Family::kConvNext:
    case Family::kDinov3ConvNext:
      return {"ConvNeXt", Colour::kBlue};
    case Family::kConvNextV2:
      return {"ConvNeXt V2", Colour::kTeal};
    case Family::kConvNextIsotropic:
      return {"ConvNeXt (isotropic)", Colour::kPink};
    case Family::kResNet:
      return {"ResNet", Colour::kGrey};
    case Family::kRegNet:
      return {"RegNet", Colour::kRed};
    case Family::kEfficientNet:
      return {"EfficientNet", Colour::kPurple};
    case Family::kVisionTransformer:
      return {"ViT", Colour::kGreen};
    case Family::kSwin:
      return {"Swin", Colour::kOrange};
    case Family::kRoadmap:
      return {"on the way", Colour::kBrown};
  }
  return {};
}

// What distinguishes the lines of a family: the first word of the name, and the resolution.
std::string line_of(const ComparedNetwork& network) {
  std::string_view name = network.entry != nullptr ? std::string_view(network.entry->name) : network.model;
  constexpr std::string_view kTensorFlow = "tf_";
  if (name.starts_with(kTensorFlow)) name.remove_prefix(kTensorFlow.size());
  return fmt::format("{} {}", name.substr(0, name.find_first_of("_-")), network.resolution);
}

// As the paper prints it, with the resolution where it is not the usual one.
std::string label_of(const ComparedNetwork& network) {
  constexpr int kUsual = 224;
  const std::string name(network.paper != nullptr ? network.paper->name : std::string_view(network.model));
  return network.resolution == kUsual ? name : fmt::format("{} {}", name, network.resolution);
}

// One network at one place.
struct Shown {
  const ComparedNetwork* network;
  double x;
  bool by_engine = false;
};

BubblePanel panel_of(const std::vector<Shown>& shown, bool pretrained, const std::string& x_label) {
  BubblePanel panel;
  panel.title = pretrained ? "Trained on ImageNet-22K first" : "Trained on ImageNet-1K";
  panel.x_label = x_label;
  panel.y_label = "ImageNet-1K top-1, %";
  panel.log_x = true;
  // The families in the order of their first network, the lines likewise.
  std::vector<std::vector<std::string>> lines;
  for (const Shown& each : shown) {
    const ComparedNetwork& network = *each.network;
    const std::optional<double>& top1 = pretrained ? network.top1_22k : network.top1;
    if (!top1 || each.x <= 0) continue;
    Style style = style_of(network);
    if (each.by_engine) style.name += ", engine";
    auto family = std::ranges::find(panel.families, style.name, &BubbleFamily::name);
    if (family == panel.families.end()) {
      panel.families.push_back({style.name, style.colour, {}, each.by_engine});
      lines.emplace_back();
      family = panel.families.end() - 1;
    }
    std::vector<std::string>& keys = lines[static_cast<std::size_t>(family - panel.families.begin())];
    const std::string key = line_of(network);
    const auto line = static_cast<std::size_t>(std::ranges::find(keys, key) - keys.begin());
    if (line == keys.size()) {
      keys.push_back(key);
      family->lines.emplace_back();
    }
    family->lines[line].push_back({label_of(network), each.x, *top1, network.millions_of_params()});
  }
  for (BubbleFamily& family : panel.families) {
    for (std::vector<Bubble>& line : family.lines) {
      std::ranges::stable_sort(line, {}, &Bubble::size);
    }
  }
  return panel;
}

std::vector<BubblePanel> panels_of(const std::vector<Shown>& shown, const std::string& x_label) {
  return {panel_of(shown, false, x_label), panel_of(shown, true, x_label)};
}

double rounded_to_a_digit(double value) {
  const double power = std::pow(10, std::floor(std::log10(value)));
  return power * std::round(value / power);
}

// For the legend of areas: about the least, what lies between, and the most.
std::vector<double> legend_sizes(const Range& sizes) {
  std::vector<double> legend;
  for (const double size : {sizes.low, std::sqrt(sizes.low * sizes.high), sizes.high}) {
    const double rounded = rounded_to_a_digit(size);
    if (legend.empty() || rounded > legend.back()) legend.push_back(rounded);
  }
  return legend;
}

}  // namespace

BubbleChart comparison_figure(const std::vector<ComparisonRow>& rows, const std::string& machine) {
  BubbleChart chart;
  chart.size_label = "million parameters";
  std::vector<Shown> by_compute, by_speed;
  Range sizes;
  const auto measured = [](const ComparisonRow& row) { return row.speed.has_value(); };
  const bool any_measured = std::ranges::any_of(rows, measured);
  const bool all_on_a100 = std::ranges::all_of(rows, [](const ComparisonRow& row) {
    return row.network.paper_speed.v100 == 0 || row.network.paper_speed.a100 > 0;
  });
  for (const ComparisonRow& row : rows) {
    const ComparedNetwork& network = row.network;
    const bool has_top1 = network.top1 || network.top1_22k;
    if (has_top1) sizes.include(network.millions_of_params());
    const bool known = std::ranges::any_of(by_compute, [&](const Shown& other) {
      return other.network->model == network.model && other.network->resolution == network.resolution;
    });
    if (!known) by_compute.push_back({&network, network.total_gmac()});
    if (row.speed) {
      by_speed.push_back({&network, row.speed->pictures_per_second(), row.speed->backend == "engine"});
    } else if (!any_measured) {
      by_speed.push_back({&network, all_on_a100 ? network.paper_speed.a100 : network.paper_speed.v100});
    }
  }
  chart.rows.push_back(panels_of(by_compute, "1e9 multiply-accumulates a picture"));
  chart.rows.push_back(
      panels_of(by_speed, any_measured ? fmt::format("pictures a second {}", machine)
                                       : fmt::format("pictures a second on {}",
                                                     all_on_a100 ? "an A100 (the paper)" : "a V100 (the paper)")));
  if (!sizes.empty()) chart.sizes = legend_sizes(sizes);
  return chart;
}

}  // namespace convnext
