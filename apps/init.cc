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
#include "model/coco_labels.h"
#include "model/detector_checkpoint.h"
#include "model/detector_registry.h"
#include "model/detector_weights.h"
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

// Says what was written.
void print_written(const InitOptions& options, const std::string& architecture, std::uint64_t weight_bytes) {
  if (options.json) {
    print_document(nlohmann::ordered_json({{"file", options.output},
                                           {"architecture", architecture},
                                           {"weights", options.weights},
                                           {"seed", options.seed},
                                           {"weight_bytes", weight_bytes}}));
  } else {
    print(fmt::format("{}: {} with {} weights (seed {}), {}\n", options.output, architecture, options.weights,
                      options.seed, format_bytes(weight_bytes)));
  }
}

std::string training_of(const InitOptions& options) {
  return nlohmann::ordered_json({{"weights", options.weights}, {"seed", options.seed}}).dump();
}

ExitCode init_detector(const InitOptions& options, DetectorEntry registered) {
  const DetectorEntry entry = detector_from(std::move(registered), options.network);
  if (options.resolution) {
    throw UsageError(
        fmt::format("'{}' is a detector, for pictures of any size: --resolution goes with a network", entry.name));
  }
  DetectorCard card;
  card.architecture = entry.name;
  card.detector = entry.config;
  if (static_cast<std::size_t>(card.detector.classes) == coco_labels().size()) card.labels = coco_labels();
  card.training = training_of(options);
  const WeightStore weights = options.weights == kFormula ? formula_weights(tensor_specs(card.detector), options.seed)
                                                          : random_weights(card.detector, options.seed);
  write_detector(options.output, card, weights);
  print_written(options, card.architecture, weights.bytes());
  return kDone;
}

ExitCode init(const InitOptions& options) {
  if (is_detector_name(options.name)) return init_detector(options, registered_detector(options.name));
  const RegistryEntry& entry = architecture_named(options.name);
  Card card;
  card.architecture = entry.name;
  card.network = network_from(entry, options.network);
  card.preprocessing = entry.preprocessing;
  if (options.resolution) card.preprocessing.resolution = *options.resolution;
  card.training = training_of(options);

  const std::unique_ptr<Backend> backend = program_backend(card);
  const WeightStore weights = options.weights == kFormula ? formula_weights(card.network, options.seed)
                                                          : random_weights(card.network, options.seed);
  ThreadPool pool(options.threads == 0 ? available_threads() : options.threads);
  card.check = make_check_vector(card, weights, *backend, &pool);
  write_checkpoint(options.output, card, weights);
  print_written(options, card.architecture, weights.bytes());
  return kDone;
}

}  // namespace

void add_init(CLI::App& program, Command& chosen) {
  auto options = std::make_shared<InitOptions>();
  CLI::App* command = program.add_subcommand("init", "Write a model file with untrained weights");
  command->add_option("NAME", options->name, "A registered name, of a network or a detector")->required();
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
