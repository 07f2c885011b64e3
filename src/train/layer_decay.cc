#include "train/layer_decay.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <numeric>

#include "convnext/error.h"
#include "core/names.h"

namespace convnext {
namespace {

constexpr int kTinyLayers = 6;

constexpr std::array kGroupings = {Named<LayerGrouping>{LayerGrouping::kSingle, "single"},
                                   Named<LayerGrouping>{LayerGrouping::kGrouped, "grouped"},
                                   Named<LayerGrouping>{LayerGrouping::kTiny, "tiny"}};

// Layers of `size` blocks each, beginning anew with every stage.
std::vector<std::vector<int>> runs_of(const std::vector<int>& depths, int size) {
  std::vector<std::vector<int>> layers;
  int before = 0;
  for (const int depth : depths) {
    std::vector<int>& stage = layers.emplace_back();
    for (int block = 0; block < depth; ++block) stage.push_back(before + 1 + block / size);
    before += (depth + size - 1) / size;
  }
  return layers;
}

std::vector<std::vector<int>> six_layers(const std::vector<int>& depths) {
  const bool four = depths.size() == 4;
  const int all = std::accumulate(depths.begin(), depths.end(), 0);
  std::vector<std::vector<int>> layers;
  int number = 0;
  for (std::size_t s = 0; s < depths.size(); ++s) {
    std::vector<int>& stage = layers.emplace_back();
    for (int block = 0; block < depths[s]; ++block, ++number) {
      constexpr int kFirst[] = {1, 2, 3, kTinyLayers};
      const int within = s == 2 ? 3 * block / depths[s] : 0;
      stage.push_back(four ? kFirst[s] + within : 1 + kTinyLayers * number / all);
    }
  }
  return layers;
}

// The number at the start of `text`, which is cut off with the full stop behind it.
std::size_t take_number(std::string_view& text) {
  std::size_t number = 0;
  const char* end = std::from_chars(text.data(), text.data() + text.size(), number).ptr;
  text.remove_prefix(std::min(text.size(), static_cast<std::size_t>(end - text.data()) + 1));
  return number;
}

}  // namespace

std::string_view name_of(LayerGrouping grouping) { return find_name(kGroupings, grouping); }

LayerGrouping layer_grouping_from_name(std::string_view name) {
  return find_value(kGroupings, name, "--layer-decay-grouping");
}

LayerMap::LayerMap(const NetworkConfig& config, LayerGrouping grouping) {
  const auto* convnext = std::get_if<ConvNextConfig>(&config);
  if (!convnext) {
    throw Error(ErrorCode::kUnsupported,
                "layer-wise learning rate decay is for ConvNeXt: set it to 1 for this network");
  }
  const std::vector<int>& depths = convnext->depths;
  switch (grouping) {
    case LayerGrouping::kSingle:
      blocks_ = runs_of(depths, 1);
      stem_ = 1;
      break;
    case LayerGrouping::kGrouped:
      blocks_ = runs_of(depths, 3);
      break;
    case LayerGrouping::kTiny:
      blocks_ = six_layers(depths);
      break;
  }
  head_ = grouping == LayerGrouping::kTiny ? kTinyLayers + 1 : blocks_.back().back() + 1;
}

int LayerMap::of(std::string_view parameter) const {
  constexpr std::string_view kStages = "stages.", kBlocks = "blocks.";
  if (parameter.starts_with("stem.")) return stem_;
  if (!parameter.starts_with(kStages)) return head_;
  parameter.remove_prefix(kStages.size());
  const std::vector<int>& stage = blocks_.at(take_number(parameter));
  if (!parameter.starts_with(kBlocks)) return stage.front();
  parameter.remove_prefix(kBlocks.size());
  return stage.at(take_number(parameter));
}

}  // namespace convnext
