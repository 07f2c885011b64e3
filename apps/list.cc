#include <fmt/format.h>
#include <fnmatch.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "apps/commands.h"
#include "apps/options.h"
#include "apps/terminal.h"
#include "model/description.h"
#include "model/registry.h"

namespace convnext::apps {
namespace {

struct ListOptions {
  std::string filter;
  bool json = false;
};

// A part of the name, or a pattern with * and ?.
bool matches(const RegistryEntry& entry, const std::string& filter) {
  if (filter.find_first_of("*?[") != std::string::npos) return ::fnmatch(filter.c_str(), entry.name.c_str(), 0) == 0;
  return entry.name.find(filter) != std::string::npos;
}

ExitCode list(const ListOptions& options) {
  using enum Table::Align;
  Table table({{"name"}, {"parameters", kRight}, {"GMAC", kRight}, {"pixels", kRight}, {"top-1", kRight}, {"weights"}});
  auto rows = nlohmann::ordered_json::array();
  for (const RegistryEntry& entry : registry()) {
    if (!matches(entry, options.filter)) continue;
    const int side = entry.preprocessing.resolution;
    const NetworkCost cost = count_cost(entry.network, side, side);
    nlohmann::ordered_json row = {{"name", entry.name},
                                  {"family", name_of(entry.family)},
                                  {"params", cost.params},
                                  {"gmac", cost.gmac},
                                  {"gmac_with_norms", cost.gmac_with_norms},
                                  {"resolution", side},
                                  {"classes", class_count(entry.network)}};
    if (entry.top1) row["published_top1"] = *entry.top1;
    if (!entry.published_weights.empty()) row["published_weights"] = entry.published_weights;
    rows.push_back(std::move(row));
    table.add({entry.name, format_count(cost.params), fmt::format("{:.3f}", cost.gmac), fmt::format("{}", side),
               entry.top1 ? fmt::format("{:.2f}", *entry.top1) : "", entry.published_weights});
  }
  if (options.json) {
    print_document(rows);
  } else if (!rows.empty()) {
    print(table.text());
  }
  if (!rows.empty()) return kDone;
  report(fmt::format("no network's name contains '{}'", options.filter));
  return kFailed;
}

}  // namespace

void add_list(CLI::App& program, Command& chosen) {
  auto options = std::make_shared<ListOptions>();
  CLI::App* command = program.add_subcommand("list", "List the networks that have a name");
  command->add_option("FILTER", options->filter, "A part of the name, or a pattern: 'convnextv2_*'");
  add_json_option(*command, options->json);
  command->footer("Example: convnext list v2");
  command->callback([&chosen, options] { chosen = [options] { return list(*options); }; });
}

}  // namespace convnext::apps
