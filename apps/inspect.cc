#include <fmt/format.h>
#include <fmt/ranges.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "apps/commands.h"
#include "apps/options.h"
#include "apps/terminal.h"
#include "core/progress.h"
#include "io/quoted.h"
#include "model/inspection.h"

namespace convnext::apps {
namespace {

using Json = nlohmann::ordered_json;

struct InspectOptions {
  std::string file;
  std::string architecture;
  TensorFileOptions file_options;
  bool tensors = false;
  bool json = false;
};

struct CardValue {
  std::string name;  // as in a card
  std::string value;
};

// The values of a card as a person reads them.
std::vector<CardValue> values_of(const ConvNextConfig& network) {
  std::vector<CardValue> values = {{"depths", fmt::format("{}", fmt::join(network.depths, ","))},
                                   {"dims", fmt::format("{}", fmt::join(network.dims, ","))},
                                   {"kernel_sizes", fmt::format("{}", fmt::join(network.kernel_sizes, ","))},
                                   {"stem", std::string(name_of(network.stem))}};
  if (network.stem == Stem::kPatch) values.push_back({"patch_size", fmt::format("{}", network.patch_size)});
  values.insert(values.end(), {{"norm", std::string(name_of(network.norm))},
                               {"norm_eps", fmt::format("{}", network.norm_eps)},
                               {"head_norm_eps", fmt::format("{}", network.head_eps())},
                               {"activation", std::string(name_of(network.activation))},
                               {"layer_scale", network.layer_scale ? "yes" : "no"},
                               {"grn", network.grn ? "yes" : "no"},
                               {"head", std::string(name_of(network.head))},
                               {"classes", fmt::format("{}", network.classes)},
                               {"input_channels", fmt::format("{}", network.input_channels)}});
  return values;
}

std::vector<CardValue> values_of(const NetworkConfig& network) {
  if (const auto* convnext = std::get_if<ConvNextConfig>(&network)) return values_of(*convnext);
  std::vector<CardValue> values;
  for (const NetworkField& field : network_fields(network)) {
    values.push_back({field.name, card_value_text(field.value)});
  }
  return values;
}

std::vector<CardValue> values_of(const Card& card) {
  const Preprocessing& preprocessing = card.preprocessing;
  std::vector<CardValue> values = {{"architecture", card.architecture}};
  for (CardValue& value : values_of(card.network)) values.push_back(std::move(value));
  values.insert(values.end(), {{"resolution", fmt::format("{}", preprocessing.resolution)},
                               {"mean", fmt::format("{}", fmt::join(preprocessing.mean, " "))},
                               {"std", fmt::format("{}", fmt::join(preprocessing.std, " "))},
                               {"interpolation", std::string(name_of(preprocessing.interpolation))},
                               {"crop_fraction", fmt::format("{}", preprocessing.crop_fraction)},
                               {"crop_mode", std::string(name_of(preprocessing.crop_mode))},
                               {"pipeline", std::string(name_of(preprocessing.pipeline))},
                               {"labels", card.labels.empty() ? "none" : fmt::format("{}", card.labels.size())},
                               {"license", card.license.empty() ? "not known" : card.license},
                               {"precision", card.precision}});
  return values;
}

std::vector<CardValue> values_of(const DetectorCard& card) {
  std::vector<CardValue> values = {{"architecture", card.architecture}};
  for (const NetworkField& field : detector_fields(card.detector)) {
    values.push_back({field.name, card_value_text(field.value)});
  }
  for (const CardValue& value : values_of(card.detector.backbone)) {
    if (value.name != "classes" && value.name != "head") values.push_back({"backbone." + value.name, value.value});
  }
  values.insert(values.end(), {{"mean", fmt::format("{}", fmt::join(card.mean, " "))},
                               {"std", fmt::format("{}", fmt::join(card.std, " "))},
                               {"short_side", fmt::format("{}", card.short_side)},
                               {"long_side", fmt::format("{}", card.long_side)},
                               {"labels", card.labels.empty() ? "none" : fmt::format("{}", card.labels.size())},
                               {"license", card.license.empty() ? "not known" : card.license},
                               {"precision", card.precision}});
  return values;
}

// The card of a network or a detector, in effect.
struct ShownCard {
  std::string architecture;
  bool has_card = false;
  std::vector<CardValue> values;
  std::map<std::string, std::string> origins;
  Json json;

  std::string origin_of(const std::string& name) const {
    if (has_card) return "the card in the file";
    const auto found = origins.find(name);
    return found == origins.end() ? "" : found->second;
  }
};

ShownCard shown(const CheckpointCard& card) {
  return {.architecture = card.card.architecture,
          .has_card = card.has_card,
          .values = values_of(card.card),
          .origins = card.origins,
          .json = Json::parse(card_to_json(card.card))};
}
ShownCard shown(const DetectorCheckpointCard& card) {
  return {.architecture = card.card.architecture,
          .has_card = card.has_card,
          .values = values_of(card.card),
          .origins = card.origins,
          .json = Json::parse(detector_card_to_json(card.card))};
}

// An inspection of a network's file or a detector's, as it is shown.
struct Findings {
  FileInspection file;
  bool is_whole = false;
  std::string_view what;  // it would be if it were whole: "model", "detector"
  std::optional<std::string> layout{};
  std::optional<std::string> backbone_layout{};  // of a detector
  std::optional<ShownCard> card{};
};

Findings findings_of(Inspection inspection) {
  Findings findings{.file = {}, .is_whole = inspection.is_whole(), .what = "model"};
  if (inspection.layout) findings.layout = name_of(*inspection.layout);
  if (inspection.card) findings.card = shown(*inspection.card);
  findings.file = std::move(inspection);
  return findings;
}
Findings findings_of(DetectorInspection inspection) {
  Findings findings{.file = {}, .is_whole = inspection.is_whole(), .what = "detector"};
  if (inspection.naming) findings.layout = name_of(*inspection.naming);
  if (inspection.backbone_layout) findings.backbone_layout = name_of(*inspection.backbone_layout);
  if (inspection.card) findings.card = shown(*inspection.card);
  findings.file = std::move(inspection);
  return findings;
}

std::string_view list_of(Misfit::Kind kind) {
  switch (kind) {
    case Misfit::Kind::kMissing:
      return "missing";
    case Misfit::Kind::kShape:
      return "misshaped";
    case Misfit::Kind::kType:
      return "not_float";
    case Misfit::Kind::kUnexpected:
      return "unexpected";
    case Misfit::Kind::kRepeated:
      return "repeated";
  }
  return "";
}

std::vector<const InspectedTensor*> not_finite(const FileInspection& inspection) {
  std::vector<const InspectedTensor*> tensors;
  for (const InspectedTensor& tensor : inspection.tensors) {
    if (!tensor.statistics.all_finite()) tensors.push_back(&tensor);
  }
  return tensors;
}

Json to_json(const Misfit& misfit) {
  Json json = {{"key", misfit.key}};
  if (!misfit.own.empty()) json["own"] = misfit.own;
  if (misfit.kind == Misfit::Kind::kMissing || misfit.kind == Misfit::Kind::kShape) json["expected"] = misfit.expected;
  if (misfit.kind != Misfit::Kind::kMissing && misfit.kind != Misfit::Kind::kRepeated) json["found"] = misfit.found;
  return json;
}

Json to_json(const InspectedTensor& tensor) {
  const TensorStatistics& statistics = tensor.statistics;
  Json json = {{"key", tensor.key}, {"own", nullptr}, {"dtype", name_of(tensor.dtype)}, {"shape", tensor.shape}};
  if (!tensor.own.empty()) json["own"] = tensor.own;
  json.update({{"nans", statistics.nans},
               {"infinities", statistics.infinities},
               {"least", statistics.least},
               {"greatest", statistics.greatest},
               {"mean", statistics.mean},
               {"std", statistics.deviation}});
  return json;
}

Json to_json(const Findings& findings, bool tensors) {
  const FileInspection& file = findings.file;
  std::uint64_t bytes = 0;
  Json types = Json::object();
  for (const auto& [dtype, stored] : file.types) {
    bytes += stored.bytes;
    types[std::string(name_of(dtype))] = {{"tensors", stored.tensors}, {"bytes", stored.bytes}};
  }
  Json json = {
      {"file", file.path.string()}, {"whole", findings.is_whole},     {"kind", nullptr}, {"layout", nullptr},
      {"architecture", nullptr},    {"tensors", file.tensors.size()}, {"bytes", bytes},  {"types", std::move(types)}};
  if (file.kind) json["kind"] = name_of(*file.kind);
  if (findings.layout) json["layout"] = *findings.layout;
  if (findings.backbone_layout) json["backbone_layout"] = *findings.backbone_layout;
  for (const char* list : {"missing", "misshaped", "not_float", "unexpected", "repeated"}) json[list] = Json::array();
  for (const Misfit& misfit : file.misfits) json[std::string(list_of(misfit.kind))].push_back(to_json(misfit));
  json["not_finite"] = Json::array();
  for (const InspectedTensor* tensor : not_finite(file)) {
    json["not_finite"].push_back(
        {{"key", tensor->key}, {"nans", tensor->statistics.nans}, {"infinities", tensor->statistics.infinities}});
  }
  if (findings.card) {
    json["architecture"] = findings.card->architecture;
    json["has_card"] = findings.card->has_card;
    json["card"] = findings.card->json;
    json["origins"] = findings.card->origins;
  }
  json["notes"] = file.notes;
  json["problems"] = file.problems;
  if (tensors) {
    json["tensor_list"] = Json::array();
    for (const InspectedTensor& tensor : file.tensors) json["tensor_list"].push_back(to_json(tensor));
  }
  return json;
}

void fact(std::string_view title, const std::string& text) {
  print(fmt::format("{} {}\n", faint(fmt::format("{:<12}", title)), text));
}

void print_card(const ShownCard& card) {
  Table table({{"card"}, {"value"}, {"from"}});
  for (const CardValue& value : card.values) {
    table.add({value.name, value.value, card.origin_of(value.name)});
  }
  print("\n" + table.text());
}

void print_tensors(const FileInspection& inspection) {
  using enum Table::Align;
  Table table(
      {{"tensor"}, {"type"}, {"shape"}, {"least", kRight}, {"greatest", kRight}, {"mean", kRight}, {"std", kRight}});
  for (const InspectedTensor& tensor : inspection.tensors) {
    const TensorStatistics& s = tensor.statistics;
    table.add({in_quotes(tensor.key), std::string(name_of(tensor.dtype)), to_string(tensor.shape),
               fmt::format("{:.4g}", s.least), fmt::format("{:.4g}", s.greatest), fmt::format("{:.4g}", s.mean),
               fmt::format("{:.4g}", s.deviation)});
  }
  print("\n" + table.text());
}

void print_findings(const Findings& findings, bool tensors) {
  const FileInspection& file = findings.file;
  print(fmt::format("{}\n", strong(file.path.string())));
  if (file.kind) fact("kind", std::string(name_of(*file.kind)));
  if (findings.layout) {
    fact("layout", findings.backbone_layout
                       ? fmt::format("{}, the backbone's {}", *findings.layout, *findings.backbone_layout)
                       : *findings.layout);
  }
  for (const auto& [dtype, stored] : file.types) {
    fact("tensors", fmt::format("{} of {}, {}", stored.tensors, name_of(dtype), format_bytes(stored.bytes)));
  }
  for (const std::string& note : file.notes) fact("note", note);
  for (const Misfit& misfit : file.misfits) fact(list_of(misfit.kind), misfit.message());
  for (const InspectedTensor* tensor : not_finite(file)) {
    fact("not finite", fmt::format("{}: {} NaN, {} infinities of {} elements", in_quotes(tensor->key),
                                   tensor->statistics.nans, tensor->statistics.infinities, tensor->statistics.count));
  }
  for (const std::string& problem : file.problems) fact("problem", problem);
  if (findings.card) print_card(*findings.card);
  if (tensors) print_tensors(file);
  const std::string verdict = fmt::format("a whole {}", findings.what);
  print(fmt::format("\n{}\n", findings.is_whole ? verdict : strong("not " + verdict)));
}

// A file that is called a network's is one, which may be the backbone of a detector.
Findings inspected(const InspectOptions& options) {
  if (!options.architecture.empty()) architecture_named(options.architecture);
  const std::filesystem::path file = model_file(options.file);
  if (options.architecture.empty() && holds_detector(file, options.file_options)) {
    return findings_of(inspect_detector(file, options.file_options));
  }
  return findings_of(convnext::inspect(file, options.architecture, options.file_options));
}

ExitCode inspect(const InspectOptions& options) {
  const Findings findings = inspected(options);
  if (options.json) {
    print_document(to_json(findings, options.tensors));
  } else {
    print_findings(findings, options.tensors);
  }
  return findings.is_whole ? kDone : kFailed;
}

}  // namespace

void add_inspect(CLI::App& program, Command& chosen) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command =
      program.add_subcommand("inspect", "Say what is in a file of weights, and what keeps it from loading");
  command->add_option("FILE", options->file, "A file of weights of any kind, or a folder with one")->required();
  add_architecture_option(*command, options->architecture);
  add_weight_file_options(*command, options->file_options);
  command->add_flag("--tensors", options->tensors, "List all tensors with least, greatest, mean and deviation");
  add_json_option(*command, options->json);
  command->footer("Example: convnext inspect pytorch_model.bin");
  command->callback([&chosen, options] { chosen = [options] { return inspect(*options); }; });
}

}  // namespace convnext::apps
