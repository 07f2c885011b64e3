#include "model/config.h"

#include <fmt/format.h>

#include "convnext/error.h"
#include "model/field_checks.h"
#include "model/width_rounding.h"

namespace convnext {

void validate(const ConvNextConfig& config) {
  check_range("the number of stages", static_cast<std::int64_t>(config.depths.size()), 1, 4);
  check_list("depths", config.depths, config.depths.size(), 1, 256);
  check_list("dims", config.dims, config.depths.size(), 1, 16384);
  check_kernels("kernel_sizes", config.kernel_sizes, config.depths.size());
  check_range("patch_size", config.patch_size, 1, 64);
  check_ends(config.input_channels, config.classes);
  if (config.head == Head::kMlp) check_range("head_hidden", config.head_hidden, 1, 16384);
  check_norm_eps("norm_eps", config.norm_eps);
  if (config.head_norm_eps != 0.0) check_norm_eps("head_norm_eps", config.head_norm_eps);
}

int stem_width(const ConvNextConfig& config) {
  if (config.stem != Stem::kOverlapTiered) return config.dims[0];
  return rounded_width(config.dims[0] / 2);
}

void validate(const NetworkConfig& config) {
  std::visit([](const auto& network) { validate(network); }, config);
}

int class_count(const NetworkConfig& config) {
  return std::visit([](const auto& network) { return network.classes; }, config);
}

int input_channels(const NetworkConfig& config) {
  return std::visit([](const auto& network) { return network.input_channels; }, config);
}

void set_class_count(NetworkConfig& config, int classes) {
  std::visit([classes](auto& network) { network.classes = classes; }, config);
}

void apply(const NetworkOverrides& overrides, ConvNextConfig& network) {
  if (overrides.depths) network.depths = *overrides.depths;
  if (overrides.dims) network.dims = *overrides.dims;
  if (overrides.kernel_sizes) {
    network.kernel_sizes = *overrides.kernel_sizes;
  } else if (network.kernel_sizes.size() != network.depths.size()) {
    network.kernel_sizes = {network.kernel_sizes.front()};
  }
  if (network.kernel_sizes.size() == 1) {
    network.kernel_sizes.assign(network.depths.size(), network.kernel_sizes.front());
  }
  if (overrides.patch_size) {
    if (network.stem != Stem::kPatch) {
      throw Error(ErrorCode::kInvalidArgument,
                  fmt::format("a patch size of {} does not go with the stem '{}', which has no patches",
                              *overrides.patch_size, name_of(network.stem)));
    }
    network.patch_size = *overrides.patch_size;
  }
  if (overrides.classes) network.classes = *overrides.classes;
  if (overrides.input_channels) network.input_channels = *overrides.input_channels;
}

NetworkConfig with_overrides(NetworkConfig config, const NetworkOverrides& overrides) {
  std::visit([&overrides](auto& network) { apply(overrides, network); }, config);
  validate(config);
  return config;
}

std::string_view name_of(Stem stem) {
  switch (stem) {
    case Stem::kPatch:
      return "patch";
    case Stem::kOverlap:
      return "overlap";
    case Stem::kOverlapTiered:
      return "overlap_tiered";
    case Stem::kOverlapAct:
      return "overlap_act";
  }
  return "";
}

std::string_view name_of(Norm norm) {
  switch (norm) {
    case Norm::kLayerNorm:
      return "layer_norm";
    case Norm::kRmsNorm:
      return "rms_norm";
    case Norm::kSimpleNorm:
      return "simple_norm";
  }
  return "";
}

std::string_view name_of(Activation activation) {
  switch (activation) {
    case Activation::kGelu:
      return "gelu";
    case Activation::kGeluTanh:
      return "gelu_tanh";
    case Activation::kSilu:
      return "silu";
  }
  return "";
}

std::string_view name_of(Head head) {
  switch (head) {
    case Head::kPoolNorm:
      return "pool_norm";
    case Head::kNormPool:
      return "norm_pool";
    case Head::kMlp:
      return "mlp";
  }
  return "";
}

}  // namespace convnext
