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
  bool no_ema = false;
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

std::string origin_of(const CheckpointCard& card, const std::string& name) {
  if (card.has_card) return "the card in the file";
  const auto found = card.origins.find(name);
  return found == card.origins.end() ? "" : found->second;
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

std::vector<const InspectedTensor*> not_finite(const Inspection& inspection) {
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

Json to_json(const Inspection& inspection, bool tensors) {
  std::uint64_t bytes = 0;
  Json types = Json::object();
  for (const auto& [dtype, stored] : inspection.types) {
    bytes += stored.bytes;
    types[std::string(name_of(dtype))] = {{"tensors", stored.tensors}, {"bytes", stored.bytes}};
  }
  Json json = {{"file", inspection.path.string()},
               {"whole", inspection.is_whole()},
               {"kind", nullptr},
               {"layout", nullptr},
               {"architecture", nullptr},
               {"tensors", inspection.tensors.size()},
               {"bytes", bytes},
               {"types", std::move(types)}};
  if (inspection.kind) json["kind"] = name_of(*inspection.kind);
  if (inspection.layout) json["layout"] = name_of(*inspection.layout);
  for (const char* list : {"missing", "misshaped", "not_float", "unexpected", "repeated"}) json[list] = Json::array();
  for (const Misfit& misfit : inspection.misfits) json[std::string(list_of(misfit.kind))].push_back(to_json(misfit));
  json["not_finite"] = Json::array();
  for (const InspectedTensor* tensor : not_finite(inspection)) {
    json["not_finite"].push_back(
        {{"key", tensor->key}, {"nans", tensor->statistics.nans}, {"infinities", tensor->statistics.infinities}});
  }
  if (inspection.card) {
    const CheckpointCard& card = *inspection.card;
    json["architecture"] = card.card.architecture;
    json["has_card"] = card.has_card;
    json["card"] = Json::parse(card_to_json(card.card));
    json["origins"] = card.origins;
  }
  json["notes"] = inspection.notes;
  json["problems"] = inspection.problems;
  if (tensors) {
    json["tensor_list"] = Json::array();
    for (const InspectedTensor& tensor : inspection.tensors) json["tensor_list"].push_back(to_json(tensor));
  }
  return json;
}

void fact(std::string_view title, const std::string& text) {
  print(fmt::format("{} {}\n", faint(fmt::format("{:<12}", title)), text));
}

void print_card(const CheckpointCard& card) {
  Table table({{"card"}, {"value"}, {"from"}});
  for (const CardValue& value : values_of(card.card)) {
    table.add({value.name, value.value, origin_of(card, value.name)});
  }
  print("\n" + table.text());
}

void print_tensors(const Inspection& inspection) {
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

void print_inspection(const Inspection& inspection, bool tensors) {
  print(fmt::format("{}\n", strong(inspection.path.string())));
  if (inspection.kind) fact("kind", std::string(name_of(*inspection.kind)));
  if (inspection.layout) fact("layout", std::string(name_of(*inspection.layout)));
  for (const auto& [dtype, stored] : inspection.types) {
    fact("tensors", fmt::format("{} of {}, {}", stored.tensors, name_of(dtype), format_bytes(stored.bytes)));
  }
  for (const std::string& note : inspection.notes) fact("note", note);
  for (const Misfit& misfit : inspection.misfits) fact(list_of(misfit.kind), misfit.message());
  for (const InspectedTensor* tensor : not_finite(inspection)) {
    fact("not finite", fmt::format("{}: {} NaN, {} infinities of {} elements", in_quotes(tensor->key),
                                   tensor->statistics.nans, tensor->statistics.infinities, tensor->statistics.count));
  }
  for (const std::string& problem : inspection.problems) fact("problem", problem);
  if (inspection.card) print_card(*inspection.card);
  if (tensors) print_tensors(inspection);
  print(fmt::format("\n{}\n", inspection.is_whole() ? "a whole model" : strong("not a whole model")));
}

ExitCode inspect(const InspectOptions& options) {
  if (!options.architecture.empty()) architecture_named(options.architecture);
  const Inspection inspection =
      convnext::inspect(model_file(options.file), options.architecture, {.prefer_average = !options.no_ema});
  if (options.json) {
    print_document(to_json(inspection, options.tensors));
  } else {
    print_inspection(inspection, options.tensors);
  }
  return inspection.is_whole() ? kDone : kFailed;
}

}  // namespace

void add_inspect(CLI::App& program, Command& chosen) {
  auto options = std::make_shared<InspectOptions>();
  CLI::App* command =
      program.add_subcommand("inspect", "Say what is in a file of weights, and what keeps it from loading");
  command->add_option("FILE", options->file, "A file of weights of any kind, or a folder with one")->required();
  add_architecture_option(*command, options->architecture);
  add_no_ema_option(*command, options->no_ema);
  command->add_flag("--tensors", options->tensors, "List all tensors with least, greatest, mean and deviation");
  add_json_option(*command, options->json);
  command->footer("Example: convnext inspect pytorch_model.bin");
  command->callback([&chosen, options] { chosen = [options] { return inspect(*options); }; });
}

}  // namespace convnext::apps
