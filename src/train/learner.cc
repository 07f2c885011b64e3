#include "train/learner.h"

#include <fmt/format.h>

#include <cmath>

#include "convnext/error.h"
#include "core/hash.h"
#include "train/autocast.h"
#include "train/gradient_clip.h"
#include "train/loss.h"
#include "train/mixup.h"
#include "train/non_finite.h"
#include "train/parameter_groups.h"
#include "train/random.h"

namespace convnext {
namespace {

// What a number is drawn for, so that no two uses share a sequence.
constexpr std::uint64_t kMix = hash_name("mix");

}  // namespace

Learner::Learner(const TrainSettings& settings, const Card& card, const WeightStore& weights,
                 std::int64_t steps_an_epoch, torch::Device device)
    : settings_(settings), config_(card.network), classes_(class_count(card.network)), device_(device) {
  network_ = make_network(card.network, {.drop_path = settings.drop_path, .dropout = settings.dropout});
  load_weights(*network_, weights);
  network_->to(device_);
  freeze_stages(*network_, card.network, settings.freeze_stages);
  optimizer_ = make_optimizer(settings, parameter_groups(*network_, card.network,
                                                         {.weight_decay = settings.weight_decay,
                                                          .decay_everything = settings.decay_everything,
                                                          .layer_decay = settings.layer_decay,
                                                          .grouping = settings.layer_decay_grouping}));
  if (settings.ema_decay > 0) {
    average_network_ = make_network(card.network);
    average_network_->to(device_);
    average_ = std::make_unique<MovingAverage>(
        *network_, *average_network_, MovingAverageOptions{.decay = settings.ema_decay, .warmup = settings.ema_warmup});
  }
  lr_ = convnext::learning_rates(settings, steps_an_epoch);
  weight_decay_ = weight_decays(settings, steps_an_epoch);
}

void Learner::set_training() { train_but_frozen(*network_, config_, settings_.freeze_stages); }

Learner::NetworkBatch Learner::prepared(Batch batch, std::int64_t number, int micro) const {
  NetworkBatch result{batch.pictures.to(device_, /*non_blocking=*/true), batch.targets.to(device_)};
  const MixOptions options{.mixup_alpha = settings_.mixup,
                           .cutmix_alpha = settings_.cutmix,
                           .probability = settings_.mix_probability,
                           .switch_probability = settings_.mix_switch_probability};
  if (!options.enabled()) return result;
  KeyedRandom random({settings_.seed, kMix, static_cast<std::uint64_t>(number), static_cast<std::uint64_t>(micro)});
  const MixDraw draw =
      draw_mix(options, static_cast<int>(result.pictures.size(2)), static_cast<int>(result.pictures.size(3)), random);
  mix_pictures(result.pictures, draw);
  result.targets = mixed_targets(result.targets, classes_, settings_.label_smoothing, draw.lambda);
  return result;
}

torch::Tensor Learner::loss_of(const NetworkBatch& batch, std::uint64_t drop_key) {
  const Autocast autocast(device_.type(), settings_.precision == TrainPrecision::kBf16);
  const torch::Tensor logits = network_->forward(batch.pictures, drop_key).logits.to(torch::kFloat32);
  return batch.targets.is_floating_point() ? soft_cross_entropy(logits, batch.targets)
                                           : smoothed_cross_entropy(logits, batch.targets, settings_.label_smoothing);
}

StepResult Learner::step(const std::function<Batch()>& next, std::int64_t number, const PictureSource& source) {
  StepResult result;
  result.lr = lr_.at(static_cast<std::size_t>(number));
  const auto refuse = [&](const std::string& what) {
    throw Error(
        ErrorCode::kInvalidArgument,
        fmt::format("{} at step {} with a learning rate of {:.3g}; lower --lr, lengthen --warmup-epochs or clip "
                    "with --clip-norm; the last checkpoint is intact",
                    what, number + 1, result.lr));
  };
  optimizer_->zero_grad();
  const int count = settings_.accumulate;
  for (int micro = 0; micro < count; ++micro) {
    const Batch loaded = next();
    const NetworkBatch batch = prepared(loaded, number, micro);
    const auto forward = static_cast<std::uint64_t>(number * count + micro);
    const torch::Tensor loss = loss_of(batch, mix(settings_.seed + forward));
    const double value = loss.item<double>();
    if (!std::isfinite(value)) {
      refuse(fmt::format("the loss is {} ({})", value,
                         where_not_finite(*network_, batch.pictures, loaded.samples, source)));
    }
    (count == 1 ? loss : loss / count).backward();
    result.loss += value / count;
  }
  if (settings_.clip_norm > 0) {
    result.gradient_norm = clip_gradients(*network_, settings_.clip_norm);
    if (!std::isfinite(result.gradient_norm)) {
      refuse(fmt::format("the gradient of '{}' is not finite",
                         find_gradient_that_is_not_finite(*network_).value_or("all parameters together")));
    }
  }
  optimizer_->step(result.lr, weight_decay_.at(static_cast<std::size_t>(number)));
  if (average_) average_->update();
  return result;
}

}  // namespace convnext
