#include "model/config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "convnext/error.h"

namespace convnext {
namespace {

void check_range(std::string_view what, std::int64_t value, std::int64_t low, std::int64_t high) {
  if (value < low || value > high) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("{} is {}, expected {} to {}", what, value, low, high));
  }
}

void check_list(std::string_view what, const std::vector<int>& values, std::size_t stages, int low, int high) {
  if (values.size() != stages) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("{} has {} values ({}), but there are {} stages", what,
                                                         values.size(), fmt::join(values, ","), stages));
  }
  for (const int value : values) check_range(what, value, low, high);
}

void validate_convnext(const ConvNextConfig& config) {
  check_range("the number of stages", static_cast<std::int64_t>(config.depths.size()), 1, 4);
  check_list("depths", config.depths, config.depths.size(), 1, 256);
  check_list("dims", config.dims, config.depths.size(), 1, 16384);
  check_list("kernel_sizes", config.kernel_sizes, config.depths.size(), 1, 31);
  for (const int kernel : config.kernel_sizes) {
    if (kernel % 2 == 0) {
      throw Error(
          ErrorCode::kInvalidArgument,
          fmt::format("kernel_sizes holds {}, but a depthwise kernel is odd: it is centred on its pixel", kernel));
    }
  }
  check_range("patch_size", config.patch_size, 1, 64);
  check_range("input_channels", config.input_channels, 1, 64);
  check_range("classes", config.classes, 0, 1'000'000);
  if (config.head == Head::kMlp) check_range("head_hidden", config.head_hidden, 1, 16384);
  if (!(config.norm_eps > 0 && config.norm_eps < 1)) {
    throw Error(ErrorCode::kInvalidArgument, fmt::format("norm_eps is {}, expected between 0 and 1", config.norm_eps));
  }
  if (!(config.head_norm_eps >= 0 && config.head_norm_eps < 1)) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("head_norm_eps is {}, expected between 0 and 1", config.head_norm_eps));
  }
}

}  // namespace

int stem_width(const ConvNextConfig& config) {
  if (config.stem != Stem::kOverlapTiered) return config.dims[0];
  // timm's make_divisible: the nearest multiple of 8, but not more than a tenth below.
  const int half = config.dims[0] / 2;
  int width = std::max(8, (half + 4) / 8 * 8);
  if (10 * width < 9 * half) width += 8;
  return width;
}

void validate(const NetworkConfig& config) { std::visit(validate_convnext, config); }

int class_count(const NetworkConfig& config) {
  return std::visit([](const auto& network) { return network.classes; }, config);
}

int input_channels(const NetworkConfig& config) {
  return std::visit([](const auto& network) { return network.input_channels; }, config);
}

void set_class_count(NetworkConfig& config, int classes) {
  std::visit([classes](auto& network) { network.classes = classes; }, config);
}

NetworkConfig with_overrides(NetworkConfig config, const NetworkOverrides& overrides) {
  std::visit(
      [&overrides](ConvNextConfig& network) {
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
      },
      config);
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
