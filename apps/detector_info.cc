#include "apps/detector_info.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "apps/terminal.h"
#include "model/card.h"

namespace convnext::apps {
namespace {

using Json = nlohmann::ordered_json;

Json counts(const DetectorEntry& entry, const InputSize& input, const DetectorCost& cost) {
  Json json = {{"name", entry.name},
               {"family", "detector"},
               {"params", cost.params},
               {"gmac", cost.gmac},
               {"gmac_with_norms", cost.gmac_with_norms}};
  if (cost.gmac_attention > 0) json["gmac_attention"] = cost.gmac_attention;
  json.update({{"width", input.width}, {"height", input.height}, {"classes", entry.config.classes}});
  if (entry.box_ap) json["published_box_ap"] = *entry.box_ap;
  if (entry.mask_ap) json["published_mask_ap"] = *entry.mask_ap;
  return json;
}

}  // namespace

Json detector_row(const DetectorEntry& entry) {
  const InputSize& input = kCountedDetectorInput;
  return counts(entry, input, count_cost(entry.config, input.height, input.width));
}

Json detector_info(const DetectorEntry& entry, const InputSize& input) {
  const DetectorCost cost = count_cost(entry.config, input.height, input.width);
  Json json = counts(entry, input, cost);
  json["backbone"] = entry.backbone;
  json["detector"] = Json::parse(detector_to_json(entry.config));
  json["parts"] = Json::array();
  for (const DetectorPartCost& part : cost.parts) {
    json["parts"].push_back({{"name", name_of(part.part)}, {"params", part.params}, {"gmac", part.gmac}});
  }
  json["weight_bytes"] = static_cast<std::uint64_t>(cost.params) * sizeof(float);
  return json;
}

void print_detector_info(const DetectorEntry& entry, const InputSize& input) {
  const DetectorConfig& config = entry.config;
  const DetectorCost cost = count_cost(config, input.height, input.width);
  const auto fact = [](std::string_view title, const std::string& text) {
    print(fmt::format("{} {}\n", faint(fmt::format("{:<12}", title)), text));
  };
  print(fmt::format("{}\n", strong(entry.name)));
  fact("family", "detector");
  fact("backbone", entry.backbone);
  fact("heads", config.stages() == 1 ? fmt::format("boxes of {}, masks", name_of(config.box_head))
                                     : fmt::format("{} stages for overlaps of {}: boxes of {}, masks", config.stages(),
                                                   fmt::join(config.stage_overlaps, ", "), name_of(config.box_head)));
  fact("input", fmt::format("3 x {} x {} (height, width)", input.height, input.width));
  fact("parameters", format_count(cost.params));
  const std::string attention =
      cost.gmac_attention > 0 ? fmt::format(", and {:.1f} in the products of attention", cost.gmac_attention) : "";
  fact("operations", fmt::format("{:.1f} GMAC, {:.1f} with the norms{}", cost.gmac, cost.gmac_with_norms, attention));
  if (entry.box_ap && entry.mask_ap) {
    fact("published", fmt::format("box AP {:.1f}, mask AP {:.1f} on COCO's val2017", *entry.box_ap, *entry.mask_ap));
  }
  using enum Table::Align;
  Table table({{"part"}, {"parameters", kRight}, {"GMAC", kRight}});
  for (const DetectorPartCost& part : cost.parts) {
    table.add({std::string(name_of(part.part)), format_count(part.params), fmt::format("{:.1f}", part.gmac)});
  }
  print(fmt::format("\n{}", table.text()));
}

}  // namespace convnext::apps
