#include "engine/verify.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "convnext/error.h"
#include "engine/backend.h"
#include "model/formula.h"

namespace convnext {
namespace {

constexpr std::size_t kMaxValues = 64;

ConstTensorView batch_view(const Tensor& tensor) {
  ConstTensorView view = tensor.view(Layout::kNchw);
  if (view.shape.size() == 3) view.shape.insert(view.shape.begin(), 1);
  view.strides = contiguous_strides(view.shape);
  return view;
}

Tensor check_input(const Card& card, const CheckVector& check) {
  const int channels = input_channels(card.network);
  if (channels == 3) return preprocess(formula_picture(check.width, check.height, check.seed), card.preprocessing);
  return formula_input("check", {1, channels, check.height, check.width}, check.seed);
}

// The first outputs for the input that `check` describes; its own logits are not looked at.
std::vector<float> compute(const Card& card, const WeightStore& weights, const CheckVector& check,
                           const Backend& backend, ThreadPool* pool) {
  const Tensor input = check_input(card, check);
  const ConstTensorView view = batch_view(input);
  const OutputShapes shapes = output_shapes(card.network, 1, view.shape[2], view.shape[3]);
  const bool classifies = class_count(card.network) > 0;
  Tensor output = Tensor::zeros(classifies ? shapes.logits : shapes.pooled);
  OutputViews views;
  (classifies ? views.logits : views.pooled) = output.view();

  const auto executable = backend.compile(card.network, weights, Precision::kFp32, {.pool = pool});
  Workspace workspace;
  workspace.pool = pool;
  executable->run(view, views, workspace);
  const auto values = output.values<float>();
  return {values.begin(), values.begin() + static_cast<std::ptrdiff_t>(std::min(values.size(), kMaxValues))};
}

double relative_error(const std::vector<float>& computed, const std::vector<float>& expected) {
  double difference = 0.0, norm = 0.0;
  for (std::size_t i = 0; i < expected.size(); ++i) {
    const double a = computed[i], b = expected[i];
    difference += (a - b) * (a - b);
    norm += b * b;
  }
  if (norm == 0.0) return difference == 0.0 ? 0.0 : std::numeric_limits<double>::infinity();
  return std::sqrt(difference / norm);
}

}  // namespace

CheckVector make_check_vector(const Card& card, const WeightStore& weights, ThreadPool* pool) {
  return make_check_vector(card, weights, *make_cpu_backend(), pool);
}

CheckVector make_check_vector(const Card& card, const WeightStore& weights, const Backend& backend, ThreadPool* pool) {
  CheckVector check;
  check.width = std::min(card.preprocessing.resolution * 5 / 4, kMaxResolution);
  check.height = std::min(card.preprocessing.resolution, kMaxResolution);
  check.seed = 1;
  check.logits = compute(card, weights, check, backend, pool);
  if (!std::ranges::all_of(check.logits, [](float value) { return std::isfinite(value); })) {
    throw Error(ErrorCode::kDamaged, fmt::format("with these weights ({}) a {} gives values that are not finite",
                                                 card.precision, card.architecture));
  }
  return check;
}

Verification verify(const Checkpoint& checkpoint, ThreadPool* pool) {
  return verify(checkpoint, *make_cpu_backend(), pool);
}

Verification verify(const Checkpoint& checkpoint, const Backend& backend, ThreadPool* pool) {
  const std::string source = checkpoint.path.string();
  if (!checkpoint.card.check) {
    throw Error(ErrorCode::kNotFound,
                fmt::format("'{}' has no check vector to compare with: 'convnext convert' writes one", source));
  }
  const CheckVector& check = *checkpoint.card.check;
  const std::vector<float> computed = compute(checkpoint.card, checkpoint.weights, check, backend, pool);
  if (computed.size() != check.logits.size()) {
    throw Error(ErrorCode::kMismatch, fmt::format("the check vector of '{}' has {} values, and the network gives {}",
                                                  source, check.logits.size(), computed.size()));
  }
  Verification result;
  result.relative_error = relative_error(computed, check.logits);
  result.passed = result.relative_error < kCheckTolerance;
  return result;
}

}  // namespace convnext
