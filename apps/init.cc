#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "apps/commands.h"
#include "apps/options.h"
#include "apps/program_backend.h"
#include "apps/terminal.h"
#include "convnext/thread_pool.h"
#include "engine/verify.h"
#include "model/checkpoint.h"
#include "model/formula.h"
#include "model/registry.h"

namespace convnext::apps {
namespace {

constexpr const char* kFormula = "formula";
constexpr const char* kRandom = "random";

struct InitOptions {
  std::string name;
  std::string weights = kRandom;
  std::uint64_t seed = 0;
  std::string output;
  std::optional<int> resolution;
  NetworkOptions network;
  int threads = 0;
  bool json = false;
};

ExitCode init(const InitOptions& options) {
  const RegistryEntry& entry = architecture_named(options.name);
  Card card;
  card.architecture = entry.name;
  card.network = network_from(entry, options.network);
  card.preprocessing = entry.preprocessing;
  if (options.resolution) card.preprocessing.resolution = *options.resolution;
  card.training = nlohmann::ordered_json({{"weights", options.weights}, {"seed", options.seed}}).dump();

  const std::unique_ptr<Backend> backend = program_backend(card);
  const WeightStore weights = options.weights == kFormula ? formula_weights(card.network, options.seed)
                                                          : random_weights(card.network, options.seed);
  ThreadPool pool(options.threads == 0 ? available_threads() : options.threads);
  card.check = make_check_vector(card, weights, *backend, &pool);
  write_checkpoint(options.output, card, weights);

  if (options.json) {
    print_document(nlohmann::ordered_json({{"file", options.output},
                                           {"architecture", card.architecture},
                                           {"weights", options.weights},
                                           {"seed", options.seed},
                                           {"weight_bytes", weights.bytes()}}));
  } else {
    print(fmt::format("{}: {} with {} weights (seed {}), {}\n", options.output, card.architecture, options.weights,
                      options.seed, format_bytes(weights.bytes())));
  }
  return kDone;
}

}  // namespace

void add_init(CLI::App& program, Command& chosen) {
  auto options = std::make_shared<InitOptions>();
  CLI::App* command = program.add_subcommand("init", "Write a model file with untrained weights");
  command->add_option("NAME", options->name, "A registered name")->required();
  command
      ->add_option("--weights", options->weights,
                   "random: as training begins (default); formula: for comparing implementations")
      ->check(CLI::IsMember({kFormula, kRandom}))
      ->type_name("KIND");
  command->add_option("--seed", options->seed, "Seed of the weights (default: 0)")->type_name("N");
  command->add_option("--output", options->output, "The file to write")->required()->type_name("FILE");
  add_resolution_option(*command, options->resolution);
  add_network_options(*command, options->network);
  add_threads_option(*command, options->threads);
  add_json_option(*command, options->json);
  command->footer("Example: convnext init convnext_tiny --weights formula --seed 1 --output tiny.safetensors");
  command->callback([&chosen, options] { chosen = [options] { return init(*options); }; });
}

}  // namespace convnext::apps
