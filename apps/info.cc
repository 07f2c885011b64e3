#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <iterator>
#include <nlohmann/json.hpp>

#include "apps/commands.h"
#include "apps/detector_info.h"
#include "apps/options.h"
#include "apps/terminal.h"
#include "model/checkpoint.h"
#include "model/description.h"
#include "model/published.h"
#include "model/registry.h"

namespace convnext::apps {
namespace {

using Json = nlohmann::ordered_json;

struct InfoOptions {
  std::string name;
  std::string architecture;
  TensorFileOptions file_options;
  std::optional<InputSize> input;
  NetworkOptions network;
  bool json = false;
};

// A registered network, or a file, with what is to be said of it.
struct Subject : NetworkSource {
  int resolution = 0;
  NetworkCost cost;

  // Null for another family.
  const ConvNextConfig* convnext() const { return std::get_if<ConvNextConfig>(&card.network); }
  std::uint64_t weight_bytes() const {
    return checkpoint ? checkpoint->weights.bytes() : static_cast<std::uint64_t>(cost.params) * sizeof(float);
  }
  // Published figures are those of the registered network, with the authors' weights, at their resolution.
  bool is_as_published() const {
    return !checkpoint && card.network == entry->network && resolution == entry->preprocessing.resolution;
  }
};

Subject subject_of(const InfoOptions& options) {
  Subject subject{read_network(options.name, options.architecture, options.network, options.file_options), {}, {}};
  if (options.input && !options.input->is_square()) {
    throw UsageError(fmt::format("--resolution: the input of {} is a square; WIDTHxHEIGHT goes with a detector",
                                 subject.entry->name));
  }
  subject.resolution = options.input ? options.input->width : subject.card.preprocessing.resolution;
  subject.cost = count_cost(subject.card.network, subject.resolution, subject.resolution);
  return subject;
}

// What has been published of a registered network.
std::vector<const PublishedWeights*> weights_of(const Subject& subject) {
  std::vector<const PublishedWeights*> result;
  for (const PublishedWeights& weights : published_weights()) {
    if (weights.architecture == subject.entry->name) result.push_back(&weights);
  }
  return result;
}

Json to_json(const ConvNextConfig& network) {
  Json json = {{"depths", network.depths},
               {"dims", network.dims},
               {"kernel_sizes", network.kernel_sizes},
               {"stem", name_of(network.stem)},
               {"norm", name_of(network.norm)},
               {"norm_eps", network.norm_eps},
               {"head_norm_eps", network.head_eps()},
               {"activation", name_of(network.activation)},
               {"layer_scale", network.layer_scale},
               {"grn", network.grn},
               {"head", name_of(network.head)}};
  if (network.stem == Stem::kPatch) json["patch_size"] = network.patch_size;
  return json;
}

Json to_json(const Subject& subject) {
  const NetworkCost& cost = subject.cost;
  const NetworkConfig& network = subject.card.network;
  Json json = {{"name", subject.entry->name},
               {"family", name_of(subject.entry->family)},
               {"params", cost.params},
               {"gmac", cost.gmac},
               {"gmac_with_norms", cost.gmac_with_norms}};
  if (cost.gmac_attention > 0) json["gmac_attention"] = cost.gmac_attention;
  json.update({{"resolution", subject.resolution},
               {"classes", class_count(network)},
               {"input_channels", input_channels(network)}});
  json.update(subject.convnext() ? to_json(*subject.convnext()) : Json::parse(network_to_json(network)));
  Json stages = Json::array();
  for (const StageCost& stage : cost.stages) {
    stages.push_back({{"depth", stage.depth},
                      {"dim", stage.dim},
                      {"height", stage.height},
                      {"width", stage.width},
                      {"params", stage.params},
                      {"gmac", stage.gmac}});
  }
  json["stages"] = std::move(stages);
  json["head_params"] = cost.head_params;
  json["head_gmac"] = cost.head_gmac;
  json["weight_bytes"] = subject.weight_bytes();
  json["peak_activation_bytes"] = cost.peak_activation_bytes;
  json["preprocessing"] = Json::parse(preprocessing_to_json(subject.card.preprocessing));
  if (subject.is_as_published()) {
    if (subject.entry->top1) json["published_top1"] = *subject.entry->top1;
    if (!subject.entry->published_weights.empty()) json["published_weights"] = subject.entry->published_weights;
  }
  if (!subject.checkpoint) {
    json["published"] = Json::array();
    for (const PublishedWeights* weights : weights_of(subject)) json["published"].push_back(weights->name);
  }
  if (subject.checkpoint) {
    const Card& card = subject.card;
    json["file"] = subject.checkpoint->path.string();
    json["has_card"] = subject.checkpoint->has_card;
    json["precision"] = card.precision;
    json["labels"] = card.labels;
    json["license"] = card.license;
    if (!card.training.empty()) json["training"] = Json::parse(card.training);
    json["has_check_vector"] = card.check.has_value();
  }
  return json;
}

std::string network_line(const ConvNextConfig& network) {
  std::string line = network.stem == Stem::kPatch ? fmt::format("patches of {0}x{0}", network.patch_size)
                                                  : fmt::format("{} stem", name_of(network.stem));
  line += fmt::format(", kernels {}, {} (eps {}), {}", fmt::join(network.kernel_sizes, ","), name_of(network.norm),
                      network.norm_eps, name_of(network.activation));
  if (network.grn) line += ", GRN";
  if (network.layer_scale) line += ", layer scale";
  return line;
}

// Of another family: what the table below it does not show, as in a card.
std::string network_line(const NetworkConfig& network) {
  std::vector<std::string> values;
  constexpr std::string_view kShownElsewhere[] = {"depths", "dims", "classes", "input_channels"};
  for (const NetworkField& field : network_fields(network)) {
    if (std::ranges::find(kShownElsewhere, field.name) != std::end(kShownElsewhere)) continue;
    values.push_back(fmt::format("{} {}", field.name, card_value_text(field.value)));
  }
  return fmt::format("{}", fmt::join(values, ", "));
}

void print_subject(const Subject& subject) {
  const NetworkCost& cost = subject.cost;
  const NetworkConfig& network = subject.card.network;
  const Preprocessing& preprocessing = subject.card.preprocessing;
  const auto fact = [](std::string_view title, const std::string& text) {
    print(fmt::format("{} {}\n", faint(fmt::format("{:<12}", title)), text));
  };
  print(fmt::format("{}\n", strong(subject.entry->name)));
  if (subject.checkpoint) fact("file", subject.checkpoint->path.string());
  fact("family", std::string(name_of(subject.entry->family)));
  fact("network", subject.convnext() ? network_line(*subject.convnext()) : network_line(network));
  fact("input", fmt::format("{} x {} x {}", input_channels(network), subject.resolution, subject.resolution));
  fact("pictures", fmt::format("{}, {} crop {}, mean {}, std {}", name_of(preprocessing.interpolation),
                               name_of(preprocessing.crop_mode), preprocessing.crop_fraction,
                               fmt::join(preprocessing.mean, " "), fmt::join(preprocessing.std, " ")));
  fact("parameters", format_count(cost.params));
  fact("weights", fmt::format("{} ({})", format_bytes(subject.weight_bytes()), subject.card.precision));
  const std::string attention =
      cost.gmac_attention > 0 ? fmt::format(", and {:.3f} in the products of attention", cost.gmac_attention) : "";
  fact("operations", fmt::format("{:.3f} GMAC, {:.3f} with the norms{}", cost.gmac, cost.gmac_with_norms, attention));
  fact("activations", fmt::format("{} at the peak", format_bytes(cost.peak_activation_bytes)));
  if (subject.is_as_published() && subject.entry->top1) {
    fact("published", fmt::format("{} top-1 on ImageNet-1K ({})", format_percent(*subject.entry->top1),
                                  subject.entry->published_weights));
  }
  if (!subject.card.labels.empty()) {
    const auto& labels = subject.card.labels;
    const std::size_t shown = std::min<std::size_t>(labels.size(), 10);
    fact("labels",
         fmt::format("{}{}", fmt::join(labels.begin(), labels.begin() + static_cast<std::ptrdiff_t>(shown), ", "),
                     shown < labels.size() ? ", ..." : ""));
  }
  if (!subject.card.license.empty()) fact("licence", subject.card.license);

  using enum Table::Align;
  Table table(
      {{"part"}, {"blocks", kRight}, {"channels", kRight}, {"map", kRight}, {"parameters", kRight}, {"GMAC", kRight}});
  for (std::size_t i = 0; i < cost.stages.size(); ++i) {
    const StageCost& stage = cost.stages[i];
    table.add({fmt::format("stage {}", i + 1), fmt::format("{}", stage.depth), fmt::format("{}", stage.dim),
               fmt::format("{}x{}", stage.height, stage.width), format_count(stage.params),
               fmt::format("{:.3f}", stage.gmac)});
  }
  const int classes = class_count(network);
  table.add({classes > 0 ? fmt::format("head, {} classes", classes) : "head, no classifier", "", "", "",
             format_count(cost.head_params), fmt::format("{:.3f}", cost.head_gmac)});
  print("\n" + table.text());

  const auto published = subject.checkpoint ? std::vector<const PublishedWeights*>() : weights_of(subject);
  if (published.empty()) return;
  Table weights({{"published weights"}, {"classes", kRight}, {"pixels", kRight}, {"top-1", kRight}, {"licence"}});
  for (const PublishedWeights* one : published) {
    const double top1 = one->top1.timm > 0 ? one->top1.timm : one->top1.published;
    weights.add({one->name, fmt::format("{}", one->classes), fmt::format("{}", one->preprocessing.resolution),
                 top1 > 0 ? fmt::format("{:.2f}", top1) : "", one->license});
  }
  print("\n" + weights.text());
}

// The detector that a name or a file stands for; nothing when it is another's.
std::optional<DetectorSubject> detector_of(const InfoOptions& options) {
  if (find_architecture(options.name)) return std::nullopt;
  const FileOrDetector found = model_file_or_detector(options.name);
  if (const auto* entry = std::get_if<DetectorEntry>(&found)) {
    if (!options.architecture.empty()) {
      throw UsageError(
          fmt::format("'{}' is the name of a detector, and --architecture goes with a file", options.name));
    }
    return DetectorSubject(detector_from(*entry, options.network));
  }
  const auto& file = std::get<std::filesystem::path>(found);
  // A file that is called a network's is one, which may be the backbone of a detector.
  if (!options.architecture.empty() || !holds_detector(file, options.file_options)) return std::nullopt;
  if (!options.network.overrides().empty()) {
    throw UsageError(
        fmt::format("'{}' is a file, whose detector is what it is: --classes and the other options of "
                    "networks go with a registered name",
                    options.name));
  }
  return DetectorSubject(read_detector(file, options.file_options));
}

ExitCode info(const InfoOptions& options) {
  if (const std::optional<DetectorSubject> detector = detector_of(options)) {
    const InputSize input = options.input.value_or(detector->usual_input());
    if (options.json) {
      print_document(detector_info(*detector, input));
    } else {
      print_detector_info(*detector, input);
    }
    return kDone;
  }
  const Subject subject = subject_of(options);
  if (options.json) {
    print_document(to_json(subject));
  } else {
    print_subject(subject);
  }
  return kDone;
}

}  // namespace

void add_info(CLI::App& program, Command& chosen) {
  auto options = std::make_shared<InfoOptions>();
  CLI::App* command = program.add_subcommand("info", "Say what a network or a model file is and what it costs");
  command->add_option("MODEL", options->name, "A registered name, or a model file")->required();
  add_architecture_option(*command, options->architecture);
  add_input_size_option(*command, options->input);
  add_network_options(*command, options->network);
  add_weight_file_options(*command, options->file_options);
  add_json_option(*command, options->json);
  command->footer(
      "Example: convnext info convnext_tiny --resolution 384\n"
      "         convnext info mask_rcnn_convnext_tiny --resolution 1280x800");
  command->callback([&chosen, options] { chosen = [options] { return info(*options); }; });
}

}  // namespace convnext::apps
