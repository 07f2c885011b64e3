#include "apps/detector_info.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "apps/terminal.h"
#include "core/progress.h"
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

InputSize filled(const InputSize& picture) {
  return {.width = filled_side(picture.width), .height = filled_side(picture.height)};
}

std::uint64_t weight_bytes(const DetectorSubject& subject, const DetectorCost& cost) {
  return subject.checkpoint ? subject.checkpoint->weights.bytes()
                            : static_cast<std::uint64_t>(cost.params) * sizeof(float);
}

// The registered name, and whether a file's is like it.
std::string backbone_text(const DetectorSubject& subject) {
  const DetectorEntry& entry = subject.entry;
  if (entry.config.backbone == find_detector(entry.name).value().config.backbone) return entry.backbone;
  std::vector<std::string> values;
  for (const NetworkField& field : network_fields(entry.config.backbone)) {
    if (field.name != "depths" && field.name != "dims") continue;
    values.push_back(fmt::format("{} {}", field.name, card_value_text(field.value)));
  }
  return fmt::format("another than {}: {}", entry.backbone, fmt::join(values, ", "));
}

std::string pictures_text(const DetectorCard& card) {
  return fmt::format("up to {} x {} (long side, short side), mean {}, std {}", card.long_side, card.short_side,
                     fmt::join(card.mean, " "), fmt::join(card.std, " "));
}

// How many, and the first of them.
std::string classes_text(const DetectorSubject& subject) {
  constexpr std::size_t kShown = 10;
  const std::string count = fmt::format("{}", subject.entry.config.classes);
  if (!subject.checkpoint || subject.checkpoint->card.labels.empty()) return count;
  std::vector<std::string> labels = subject.checkpoint->card.labels;
  const bool are_more = labels.size() > kShown;
  labels.resize(std::min(labels.size(), kShown));
  return fmt::format("{}: {}{}", count, fmt::join(labels, ", "), are_more ? ", ..." : "");
}

}  // namespace

DetectorSubject::DetectorSubject(DetectorCheckpoint file)
    : entry{.name = file.card.architecture,
            .backbone = find_detector(file.card.architecture).value().backbone,
            .config = file.card.detector,
            .box_ap = {},
            .mask_ap = {}},
      checkpoint(std::move(file)) {}

InputSize DetectorSubject::usual_input() const {
  const DetectorCard published;
  const DetectorCard& card = checkpoint ? checkpoint->card : published;
  if (card.short_side == published.short_side && card.long_side == published.long_side) return kCountedDetectorInput;
  return {.width = card.long_side, .height = card.short_side};
}

Json detector_row(const DetectorEntry& entry) {
  const InputSize& input = kCountedDetectorInput;
  return counts(entry, input, count_cost(entry.config, input.height, input.width));
}

Json detector_info(const DetectorSubject& subject, const InputSize& picture) {
  const DetectorEntry& entry = subject.entry;
  const InputSize input = filled(picture);
  const DetectorCost cost = count_cost(entry.config, input.height, input.width);
  Json json = counts(entry, input, cost);
  json["backbone"] = entry.backbone;
  json["detector"] = Json::parse(detector_to_json(entry.config));
  json["parts"] = Json::array();
  for (const DetectorPartCost& part : cost.parts) {
    json["parts"].push_back({{"name", name_of(part.part)}, {"params", part.params}, {"gmac", part.gmac}});
  }
  json["weight_bytes"] = weight_bytes(subject, cost);
  if (!subject.checkpoint) return json;
  const DetectorCard& card = subject.checkpoint->card;
  json.update({{"mean", card.mean},
               {"std", card.std},
               {"short_side", card.short_side},
               {"long_side", card.long_side},
               {"file", subject.checkpoint->path.string()},
               {"has_card", subject.checkpoint->has_card},
               {"precision", card.precision},
               {"labels", card.labels},
               {"license", card.license}});
  if (!card.training.empty()) json["training"] = Json::parse(card.training);
  return json;
}

void print_detector_info(const DetectorSubject& subject, const InputSize& picture) {
  const DetectorEntry& entry = subject.entry;
  const InputSize input = filled(picture);
  const DetectorConfig& config = entry.config;
  const DetectorCost cost = count_cost(config, input.height, input.width);
  const auto fact = [](std::string_view title, const std::string& text) {
    print(fmt::format("{} {}\n", faint(fmt::format("{:<12}", title)), text));
  };
  print(fmt::format("{}\n", strong(entry.name)));
  if (subject.checkpoint) fact("file", subject.checkpoint->path.string());
  fact("family", "detector");
  fact("backbone", backbone_text(subject));
  fact("heads", config.stages() == 1 ? fmt::format("boxes of {}, masks", name_of(config.box_head))
                                     : fmt::format("{} stages for overlaps of {}: boxes of {}, masks", config.stages(),
                                                   fmt::join(config.stage_overlaps, ", "), name_of(config.box_head)));
  fact("input", fmt::format("3 x {} x {} (height, width){}", input.height, input.width,
                            input == picture ? ""
                                             : fmt::format(": pictures of {} x {}, filled up to multiples of {}",
                                                           picture.height, picture.width, kDetectorInputMultiple)));
  if (subject.checkpoint) fact("pictures", pictures_text(subject.checkpoint->card));
  fact("parameters", format_count(cost.params));
  fact("weights", fmt::format("{} ({})", format_bytes(weight_bytes(subject, cost)),
                              subject.checkpoint ? subject.checkpoint->card.precision : "fp32"));
  const std::string attention =
      cost.gmac_attention > 0 ? fmt::format(", and {:.1f} in the products of attention", cost.gmac_attention) : "";
  fact("operations", fmt::format("{:.1f} GMAC, {:.1f} with the norms{}", cost.gmac, cost.gmac_with_norms, attention));
  if (entry.box_ap && entry.mask_ap) {
    fact("published", fmt::format("box AP {:.1f}, mask AP {:.1f} on COCO's val2017", *entry.box_ap, *entry.mask_ap));
  }
  fact("classes", classes_text(subject));
  if (subject.checkpoint && !subject.checkpoint->card.license.empty()) {
    fact("licence", subject.checkpoint->card.license);
  }
  using enum Table::Align;
  Table table({{"part"}, {"parameters", kRight}, {"GMAC", kRight}});
  for (const DetectorPartCost& part : cost.parts) {
    table.add({std::string(name_of(part.part)), format_count(part.params), fmt::format("{:.1f}", part.gmac)});
  }
  print(fmt::format("\n{}", table.text()));
}

}  // namespace convnext::apps
