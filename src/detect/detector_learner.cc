#include "detect/detector_learner.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <cmath>
#include <optional>

#include "convnext/error.h"
#include "core/hash.h"
#include "train/autocast.h"
#include "train/gradient_clip.h"
#include "train/layer_decay.h"

namespace convnext {
namespace {

constexpr std::string_view kBackbone = "backbone.";

bool is_finite(const torch::Tensor& tensor) { return torch::isfinite(tensor).all().item<bool>(); }

// The first thing that is not finite, in the order in which it would spread.
std::string where_not_finite(const Detector& detector, const DetectionBatch& batch, const NamedLosses& losses,
                             const DetectionSource& source) {
  for (const auto& parameter : detector.named_parameters()) {
    if (is_finite(parameter.value())) continue;
    return fmt::format("'{}' was not finite before this step: an earlier one went too far", parameter.key());
  }
  std::vector<std::string> names, files;
  for (const auto& [name, loss] : losses) {
    if (!is_finite(loss)) names.push_back(name);
  }
  for (const std::size_t sample : batch.samples) {
    files.push_back(fmt::format("'{}'", source.pictures().path(sample).string()));
  }
  return fmt::format("its parts {} on {}", fmt::join(names, ", "), fmt::join(files, ", "));
}

}  // namespace

std::vector<ParameterGroup> parameter_groups(const Detector& detector, const GroupOptions& options) {
  std::optional<LayerMap> layers;
  if (options.layer_decay != 1.0) layers.emplace(detector.config().backbone, options.grouping);
  const auto layer_of = [&layers](const std::string& name) {
    return name.starts_with(kBackbone) ? layers->of(std::string_view(name).substr(kBackbone.size())) : layers->head();
  };
  return parameter_groups(detector, tensor_specs(detector.config()), layer_of, layers ? layers->head() : 0, options);
}

DetectorLearner::DetectorLearner(const DetectionSettings& settings, const DetectorCard& card,
                                 const WeightStore& weights, std::int64_t steps_an_epoch, torch::Device device)
    : settings_(settings), device_(device) {
  detector_ = std::make_shared<Detector>(card.detector, settings.drop_path);
  load_weights(*detector_, weights);
  detector_->to(device_);
  optimizer_ = make_optimizer(settings, parameter_groups(*detector_, {.weight_decay = settings.weight_decay,
                                                                      .decay_everything = settings.decay_everything,
                                                                      .layer_decay = settings.layer_decay,
                                                                      .grouping = settings.layer_decay_grouping}));
  if (settings.ema_decay > 0) {
    average_detector_ = std::make_shared<Detector>(card.detector);
    average_detector_->to(device_);
    average_detector_->eval();
    average_ = std::make_unique<MovingAverage>(
        *detector_, *average_detector_,
        MovingAverageOptions{.decay = settings.ema_decay, .warmup = settings.ema_warmup});
  }
  lr_ = convnext::learning_rates(settings, steps_an_epoch);
  weight_decay_ = weight_decays(settings, steps_an_epoch);
}

NamedLosses DetectorLearner::losses_of(const DetectionBatch& batch, std::uint64_t key, LearningSeconds* seconds) {
  const DetectorBatch on_device{batch.pictures.pictures.to(device_, /*non_blocking=*/true), batch.pictures.sizes};
  const Autocast autocast(device_.type(), settings_.precision == TrainPrecision::kBf16);
  return detector_->losses(on_device, batch.objects, key, seconds);
}

DetectorStep DetectorLearner::step(const std::function<DetectionBatch()>& next, std::int64_t number,
                                   const DetectionSource& source, LearningSeconds* seconds) {
  DetectorStep step;
  StepResult& result = step.result;
  result.lr = lr_.at(static_cast<std::size_t>(number));
  const auto refuse = [&](const std::string& what) {
    throw Error(ErrorCode::kInvalidArgument,
                fmt::format("{} at step {} with a learning rate of {:.3g}; lower --lr, lengthen --warmup-steps or clip "
                            "with --clip-norm; the last checkpoint is intact",
                            what, number + 1, result.lr));
  };
  optimizer_->zero_grad();
  const int count = settings_.accumulate;
  for (int micro = 0; micro < count; ++micro) {
    const DetectionBatch batch = next();
    const NamedLosses losses =
        losses_of(batch, mix(settings_.seed + static_cast<std::uint64_t>(number * count + micro)), seconds);
    torch::Tensor sum;
    for (const auto& [name, loss] : losses) {
      step.losses[name] += loss.item<double>() / count;
      sum = sum.defined() ? sum + loss : loss;
    }
    const double value = sum.item<double>();
    if (!std::isfinite(value)) {
      refuse(fmt::format("the loss is {} ({})", value, where_not_finite(*detector_, batch, losses, source)));
    }
    (count == 1 ? sum : sum / count).backward();
    result.loss += value / count;
  }
  if (settings_.clip_norm > 0) {
    result.gradient_norm = clip_gradients(*detector_, settings_.clip_norm);
    if (!std::isfinite(result.gradient_norm)) {
      refuse(fmt::format("the gradient of '{}' is not finite",
                         find_gradient_that_is_not_finite(*detector_).value_or("all parameters together")));
    }
  }
  optimizer_->step(result.lr, weight_decay_.at(static_cast<std::size_t>(number)));
  if (average_) average_->update();
  return step;
}

}  // namespace convnext
