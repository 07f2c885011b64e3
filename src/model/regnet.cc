#include "model/regnet.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <string>
#include <utility>

#include "convnext/error.h"
#include "model/config.h"
#include "model/field_checks.h"
#include "model/layer_list.h"
#include "model/registry_entries.h"
#include "model/width_rounding.h"

namespace convnext {
namespace {

int group_width_of(const RegNetConfig& config, int stage) {
  return std::min(config.group_width, config.dims[static_cast<std::size_t>(stage)]);
}

// Collects the layers of one RegNet, named as timm names them.
class RegNetLayers : private LayerList {
 public:
  explicit RegNetLayers(const RegNetConfig& config) : config_(config) {}

  std::vector<LayerSpec> all() && {
    part_.place = LayerPlace::kStem;
    convolution("stem", config_.input_channels, config_.stem_width, 3, 2, 1);
    activation("stem.act", config_.stem_width);
    part_.place = LayerPlace::kBlock;
    int channels = config_.stem_width;
    for (part_.stage = 0; part_.stage < config_.stages(); ++part_.stage) {
      const auto index = static_cast<std::size_t>(part_.stage);
      for (part_.block = 0; part_.block < config_.depths[index]; ++part_.block) {
        block(channels, config_.dims[index]);
        channels = config_.dims[index];
      }
    }
    part_.block = -1;
    part_.stage = config_.stages() - 1;
    part_.place = LayerPlace::kHead;
    add("head.global_pool", LayerKind::kPool, channels, channels);
    if (config_.classes > 0) add("head.fc", LayerKind::kLinear, channels, config_.classes);
    return std::move(layers_);
  }

 private:
  void block(int in, int out) {
    const std::string prefix = fmt::format("s{}.b{}.", part_.stage + 1, part_.block + 1);
    const int stride = part_.block == 0 ? 2 : 1;
    convolution(prefix + "conv1", in, out, 1, 1, 1);
    activation(prefix + "conv1.act", out);
    convolution(prefix + "conv2", out, out, 3, stride, out / group_width_of(config_, part_.stage));
    activation(prefix + "conv2.act", out);
    if (config_.se_ratio > 0) squeeze_and_excitation(prefix + "se", out, in);
    convolution(prefix + "conv3", out, out, 1, 1, 1).starts_at_zero = true;
    if (stride > 1 || in != out) {
      part_.branch = LayerBranch::kShortcut;
      convolution(prefix + "downsample", in, out, 1, stride, 1);
      part_.branch = LayerBranch::kMain;
    }
    add(prefix + "shortcut", LayerKind::kAdd, out, out);
    activation(prefix + "act3", out);
  }

  void squeeze_and_excitation(const std::string& name, int channels, int block_input) {
    // Halves to even, as Python rounds.
    const int squeezed = std::max(1, static_cast<int>(std::nearbyint(config_.se_ratio * block_input)));
    LayerList::squeeze_and_excitation(name, "fc1", "fc2", channels, squeezed);
  }

  // With its batch norm, which is returned.
  LayerSpec& convolution(const std::string& name, int in, int out, int kernel, int stride, int groups) {
    convolution_before_norm(name + ".conv", in, out, kernel, stride, groups);
    return add(name + ".bn", LayerKind::kBatchNorm, out, out);
  }

  const RegNetConfig& config_;
};

}  // namespace

void validate(const RegNetConfig& config) {
  check_range("the number of stages", static_cast<std::int64_t>(config.depths.size()), 1, 4);
  check_list("depths", config.depths, config.depths.size(), 1, 256);
  check_list("dims", config.dims, config.depths.size(), 1, 16384);
  check_range("stem_width", config.stem_width, 1, 16384);
  check_range("group_width", config.group_width, 1, 16384);
  for (int stage = 0; stage < config.stages(); ++stage) {
    const int width = config.dims[static_cast<std::size_t>(stage)];
    if (width % group_width_of(config, stage) == 0) continue;
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("dims holds {}, which is not a multiple of the group width {}", width, config.group_width));
  }
  check_interval("se_ratio", config.se_ratio, 0.0, 1.0);
  check_ends(config.input_channels, config.classes);
}

void apply(const NetworkOverrides& overrides, RegNetConfig& config) {
  if (overrides.kernel_sizes || overrides.patch_size) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("{} does not go with a RegNet, whose kernels are 3x3",
                                                         overrides.patch_size ? "a patch size" : "a kernel size"));
  }
  if (overrides.depths) config.depths = *overrides.depths;
  if (overrides.dims) config.dims = *overrides.dims;
  if (overrides.classes) config.classes = *overrides.classes;
  if (overrides.input_channels) config.input_channels = *overrides.input_channels;
}

std::vector<LayerSpec> layer_specs(const RegNetConfig& config) { return RegNetLayers(config).all(); }

RegNetConfig regnet_of_line(const RegNetLine& line, int group_width, double se_ratio, GroupRounding rounding) {
  RegNetConfig config;
  config.depths.clear();
  config.dims.clear();
  config.group_width = group_width;
  config.se_ratio = se_ratio;
  int last = 0;
  for (int j = 0; j < line.blocks; ++j) {
    const double on_line = line.initial + line.slope * j;
    const double power = std::nearbyint(std::log(on_line / line.initial) / std::log(line.multiplier));
    const int width = 8 * static_cast<int>(std::nearbyint(line.initial * std::pow(line.multiplier, power) / 8));
    if (width != last) {
      config.depths.push_back(0);
      config.dims.push_back(width);
      last = width;
    }
    ++config.depths.back();
  }
  for (int& width : config.dims) {
    const int group = std::min(group_width, width);
    width = rounding == GroupRounding::kNotBelow
                ? rounded_width(width, group)
                : group * static_cast<int>(std::nearbyint(static_cast<double>(width) / group));
  }
  return config;
}

void add_regnets(const AddNetwork& add) {
  const auto add_network = [&add](std::string name, RegNetConfig config, std::string weights = "pycls_in1k") {
    add(Family::kRegNet, std::move(name), std::move(config), std::move(weights));
  };
  constexpr double kX = 0.0, kY = 0.25;  // squeeze and excitation
  const RegNetLine y_8gf{192, 76.82, 2.19, 17};
  add_network("regnetx_040", regnet_of_line({96, 38.65, 2.43, 23}, 40, kX));
  add_network("regnetx_080", regnet_of_line({80, 49.56, 2.88, 23}, 120, kX));
  add_network("regnetx_160", regnet_of_line({216, 55.59, 2.1, 22}, 128, kX));
  add_network("regnety_032", regnet_of_line({80, 42.63, 2.66, 21}, 24, kY));
  add_network("regnety_040", regnet_of_line({96, 31.41, 2.24, 22}, 64, kY));
  add_network("regnety_080", regnet_of_line(y_8gf, 56, kY));
  add_network("regnety_080_tv", regnet_of_line(y_8gf, 56, kY, GroupRounding::kNotBelow), "tv2_in1k");
  add_network("regnety_160", regnet_of_line({200, 106.23, 2.48, 18}, 112, kY));
  add_network("regnety_320", regnet_of_line({232, 115.89, 2.53, 20}, 232, kY));
}

}  // namespace convnext
