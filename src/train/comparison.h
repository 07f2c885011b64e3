// Networks side by side: what each costs, what is published of it, and how fast it was measured to be.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "metrics/distribution.h"
#include "model/config.h"
#include "model/paper_tables.h"
#include "model/registry.h"

namespace convnext {

struct ComparedNetwork {
  std::string model;                     // as asked for; the paper's name where there is no network of ours
  const RegistryEntry* entry = nullptr;  // null there
  NetworkConfig config;                  // of the entry, or of a file
  int resolution = 224;

  // Counted from the description; zeros without an entry.
  std::int64_t params = 0;
  double gmac = 0.0;            // convolutions and linears, 1e9
  double gmac_attention = 0.0;  // the two products of attention, which the paper's FLOPs hold too

  // Published ImageNet-1K accuracy at this resolution, percent: the paper's figures, or those that the registry has.
  std::optional<double> top1;           // not trained on ImageNet-22K first
  std::optional<double> top1_22k;       // trained on it first
  const PaperFigures* paper = nullptr;  // null: the paper does not print it
  PaperSpeed paper_speed;

  // With attention; the paper's figure without an entry.
  double total_gmac() const;
  // In millions; the paper's figure without an entry.
  double millions_of_params() const;
};

// Counts the network and looks up what is published: of a registered network as it is, not of one that was changed.
// Throws Error (kInvalidArgument) when the network does not take that resolution.
ComparedNetwork describe_network(std::string model, const RegistryEntry& entry, const NetworkConfig& config,
                                 int resolution);
// A network that is known from the paper only.
ComparedNetwork describe_network(const PaperFigures& figures);

// A list of networks by name.
struct ComparisonPreset {
  std::string_view name;  // "table1"
  std::string_view what;  // a line for a person
};
// table1, table1_22k, table2, table12: the paper's. cpu: networks of about 4.5 GMAC, ConvNeXt-T's.
const std::vector<ComparisonPreset>& comparison_presets();

// Its networks in the order of the paper, each once; at `resolution` instead of their own where it is given. Those of
// the paper that are no network of ours come with its figures only. Throws Error: kInvalidArgument for an unknown
// preset, with those there are, and as describe_network().
std::vector<ComparedNetwork> networks_of_preset(std::string_view preset, std::optional<int> resolution = {});

// How fast a network ran.
struct MeasuredSpeed {
  std::string backend;   // "libtorch" or "engine"
  Distribution seconds;  // of a sample
  std::int64_t samples = 0;
  int pictures = 0;                           // in a sample
  std::optional<std::uint64_t> memory_bytes;  // empty where the system does not tell

  double pictures_per_second() const { return pictures / seconds.median; }
  double best_pictures_per_second() const { return pictures / seconds.smallest; }
};

struct ComparisonRow {
  ComparedNetwork network;
  std::optional<MeasuredSpeed> speed;
};

// The speed of a ConvNeXt by that of its rival at the same resolution, both of which are among the rows.
struct SpeedRatio {
  std::string model;
  std::string rival;
  int resolution = 0;
  // Both through libtorch; the engine against the rival in libtorch. Empty where it was not measured.
  std::optional<double> libtorch;
  std::optional<double> engine;
  std::optional<double> v100;  // the paper's
  std::optional<double> a100;
};
std::vector<SpeedRatio> speed_ratios(const std::vector<ComparisonRow>& rows);

}  // namespace convnext
