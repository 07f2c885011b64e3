#include "engine/profile.h"

#include <algorithm>

#include "convnext/error.h"
#include "model/description.h"
#include "model/layers.h"

namespace convnext {
namespace {

std::uint64_t bytes_of(Precision precision) {
  switch (precision) {
    case Precision::kBf16:
      return 2;
    case Precision::kInt8:
      return 1;
    case Precision::kFp32:
      break;
  }
  return 4;
}

NetworkPart part_of(const LayerSpec& layer) {
  switch (layer.place) {
    case LayerPlace::kStem:
      return NetworkPart::kStem;
    case LayerPlace::kHead:
      return NetworkPart::kHead;
    case LayerPlace::kDownsample:
    case LayerPlace::kBlock:
      break;
  }
  return stage_part(static_cast<std::size_t>(layer.stage));
}

// Of a layer of a ConvNeXt. Activations go with the layer that they follow, and so do layer scale and shortcut.
Operation operation_of(const LayerSpec& layer, Operation before) {
  if (layer.place == LayerPlace::kHead) return Operation::kHead;
  switch (layer.kind) {
    case LayerKind::kConvolution:
      return layer.place == LayerPlace::kBlock ? Operation::kDepthwise : Operation::kConvolution;
    case LayerKind::kLinear:
      return layer.out_channels > layer.in_channels ? Operation::kExpand : Operation::kProject;
    case LayerKind::kNorm:
      return Operation::kNorm;
    case LayerKind::kGrn:
      return Operation::kGrn;
    case LayerKind::kTransposedConvolution:
    case LayerKind::kActivation:
    case LayerKind::kLayerScale:
    case LayerKind::kAdd:
    case LayerKind::kPool:
    case LayerKind::kBatchNorm:
    case LayerKind::kScale:
    case LayerKind::kMaxPool:
    case LayerKind::kMerge:
    case LayerKind::kAttention:
    case LayerKind::kParameter:
      break;
  }
  return before;
}

}  // namespace

std::string_view name_of(NetworkPart part) {
  constexpr std::array<std::string_view, kNetworkParts> kNames = {"stem",    "stage 1", "stage 2",
                                                                  "stage 3", "stage 4", "head"};
  return kNames[static_cast<std::size_t>(part)];
}

std::string_view name_of(Operation operation) {
  constexpr std::array<std::string_view, kOperations> kNames = {"convolution", "depthwise", "norm", "expand",
                                                                "grn",         "project",   "head"};
  return kNames[static_cast<std::size_t>(operation)];
}

void Profile::merge(const Profile& other) {
  for (std::size_t i = 0; i < threads_.size(); ++i) {
    for (std::size_t j = 0; j < threads_[i].cells.size(); ++j) {
      threads_[i].cells[j].nanoseconds += other.threads_[i].cells[j].nanoseconds;
      threads_[i].cells[j].calls += other.threads_[i].cells[j].calls;
    }
  }
}

Profile::Cell Profile::total(NetworkPart part, Operation operation) const {
  Cell sum;
  for (const Thread& thread : threads_) {
    const Cell& cell = thread.cells[index_of(part, operation)];
    sum.nanoseconds += cell.nanoseconds;
    sum.calls += cell.calls;
  }
  return sum;
}

std::int64_t Profile::total_nanoseconds() const {
  std::int64_t sum = 0;
  for (const Thread& thread : threads_) {
    for (const Cell& cell : thread.cells) sum += cell.nanoseconds;
  }
  return sum;
}

std::vector<OperationCost> operation_costs(const NetworkConfig& config, std::int64_t batch, std::int64_t height,
                                           std::int64_t width, Precision precision) {
  if (!std::holds_alternative<ConvNextConfig>(config)) {
    throw Error(ErrorCode::kUnsupported, "the operations of a profile are those of a ConvNeXt");
  }
  std::vector<OperationCost> costs;
  Operation operation = Operation::kConvolution;
  for (const LayerCost& cost : layer_costs(config, height, width)) {
    const LayerSpec& layer = cost.layer;
    const NetworkPart part = part_of(layer);
    operation = operation_of(layer, operation);
    auto entry = std::ranges::find_if(
        costs, [&](const OperationCost& one) { return one.part == part && one.operation == operation; });
    if (entry == costs.end()) entry = costs.insert(entry, {.part = part, .operation = operation});
    entry->multiply_accumulates += batch * cost.multiply_accumulates;
    // What is applied to the sums of the layer before it, or scales its weights, moves only the shortcut.
    std::int64_t in = cost.in_elements, out = cost.out_elements;
    if (layer.kind == LayerKind::kActivation || layer.kind == LayerKind::kLayerScale) in = out = 0;
    if (layer.kind == LayerKind::kAdd) out = 0;
    const bool in_precision = layer.kind == LayerKind::kLinear && layer.place == LayerPlace::kBlock;
    const std::uint64_t of_weight = in_precision || operation == Operation::kConvolution ? bytes_of(precision) : 4;
    const std::uint64_t of_input = in_precision ? bytes_of(precision) : 4;
    const std::uint64_t of_output = operation == Operation::kExpand ? bytes_of(precision) : 4;
    entry->bytes += static_cast<std::uint64_t>(batch * in) * of_input +
                    static_cast<std::uint64_t>(batch * out) * of_output +
                    static_cast<std::uint64_t>(cost.params) * of_weight;
  }
  return costs;
}

}  // namespace convnext
