#include "detect/detector.h"

#include <ATen/Parallel.h>
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "convnext/error.h"
#include "detect/anchors.h"
#include "detect/assignment.h"
#include "detect/box_coding.h"
#include "detect/losses.h"
#include "detect/mask_targets.h"
#include "detect/proposals.h"
#include "detect/region_pooling.h"
#include "model/description.h"
#include "train/random.h"

namespace convnext {
namespace {

constexpr double kAnchorPositiveShare = 0.5, kBoxPositiveShare = 0.25;
constexpr double kGiouWeight = 10.0;

// What draws are for; the stages of the heads come after.
constexpr std::uint64_t kDrawsOfAnchors = 0;

torch::Tensor to_tensor(const std::vector<Box>& boxes) {
  torch::Tensor rows = torch::empty({static_cast<std::int64_t>(boxes.size()), 4});
  float* to = rows.data_ptr<float>();
  for (const Box& box : boxes) {
    for (const float value : {box.x1, box.y1, box.x2, box.y2}) *to++ = value;
  }
  return rows;
}

torch::Tensor to_tensor(const std::vector<Deltas>& deltas) {
  torch::Tensor rows = torch::empty({static_cast<std::int64_t>(deltas.size()), 4});
  float* to = rows.data_ptr<float>();
  for (const Deltas& one : deltas) {
    for (const float value : {one.x, one.y, one.width, one.height}) *to++ = value;
  }
  return rows;
}

torch::Tensor to_tensor(const std::vector<std::int64_t>& values) {
  return torch::tensor(at::ArrayRef<std::int64_t>(values), torch::kInt64);
}

// Contiguous float32 on the CPU, without gradient.
torch::Tensor values_of(const torch::Tensor& tensor) {
  return tensor.detach().to(torch::kCPU, torch::kFloat32).contiguous();
}

std::span<const float> floats(const torch::Tensor& tensor) {
  return {tensor.const_data_ptr<float>(), static_cast<std::size_t>(tensor.numel())};
}

DeltaUnits units_of(const DetectorConfig& config, int stage) {
  const auto at = static_cast<std::size_t>(stage);
  return {static_cast<float>(config.stage_centre_deviations[at]), static_cast<float>(config.stage_size_deviations[at])};
}

// `draw`s as sample() wants them, the same for the same picture and purpose.
auto draws_for(std::uint64_t key, std::uint64_t purpose, std::size_t picture) {
  return [random = KeyedRandom({key, purpose, picture})](std::uint64_t count) mutable -> std::uint64_t {
    return random.below(static_cast<std::uint32_t>(count));
  };
}

std::vector<int> channels_of_stages(const NetworkConfig& backbone) {
  std::vector<int> channels;
  const int side = 2 * kPyramidStrides[kPyramidLevels - 1];
  for (const MapShape& map : stage_maps(backbone, side, side)) channels.push_back(map.channels);
  return channels;
}

double norm_eps(const NetworkConfig& backbone) {
  if (const auto* convnext = std::get_if<ConvNextConfig>(&backbone)) return convnext->norm_eps;
  if (const auto* swin = std::get_if<SwinConfig>(&backbone)) return swin->norm_eps;
  return std::get<ResNetConfig>(backbone).norm_eps;
}

// The largest of the classes, the background left out.
int best_class(std::span<const float> logits) {
  return static_cast<int>(std::ranges::max_element(logits.first(logits.size() - 1)) - logits.begin());
}

// Of the gradient of nothing: what a loss is where there is nothing to learn from.
torch::Tensor no_loss(const torch::Tensor& like) { return torch::zeros({}, like.options().dtype(torch::kFloat32)); }

}  // namespace

Detector::Detector(DetectorConfig config, double drop_path_rate) : config_(std::move(config)) {
  validate(config_);
  backbone_ = register_module("backbone", make_backbone(config_.backbone, drop_path_rate));
  backbone_->eval();
  const std::vector<int> widths = channels_of_stages(config_.backbone);
  if (config_.output_norms) {
    const auto norms = register_module("output_norms", std::make_shared<torch::nn::Module>());
    for (std::size_t i = 0; i < widths.size(); ++i) {
      const auto options = torch::nn::LayerNormOptions({widths[i]}).eps(norm_eps(config_.backbone));
      output_norms_.push_back(norms->register_module(std::to_string(i), torch::nn::LayerNorm(options)));
    }
  }
  pyramid_ = register_module("pyramid", std::make_shared<FeaturePyramid>(widths, config_.pyramid_channels));
  proposals_ = register_module("proposals", std::make_shared<ProposalHead>(config_));
  const auto boxes = register_module("box_heads", std::make_shared<torch::nn::Module>());
  const auto masks = register_module("mask_heads", std::make_shared<torch::nn::Module>());
  for (int i = 0; i < config_.stages(); ++i) {
    box_heads_.push_back(boxes->register_module(std::to_string(i), std::make_shared<BoxHead>(config_)));
    mask_heads_.push_back(masks->register_module(std::to_string(i), std::make_shared<MaskHead>(config_)));
  }

  if (config_.frozen_stages == 0) return;
  auto parameters = backbone_->named_parameters();
  for (const LayerSpec& layer : backbone_layers(config_)) {
    if (layer.stage >= config_.frozen_stages) continue;
    for (auto& parameter : parameters) {
      const std::string& name = parameter.key();
      if (name == layer.name || name.starts_with(layer.name + ".")) parameter.value().requires_grad_(false);
    }
  }
}

void Detector::train(bool on) {
  torch::nn::Module::train(on);
  backbone_->eval();
}

std::vector<torch::Tensor> Detector::pyramid(const torch::Tensor& pictures, std::optional<std::uint64_t> drop_key) {
  return pyramid_of(backbone_->forward(pictures, drop_key).stages);
}

std::vector<torch::Tensor> Detector::pyramid_of(std::vector<torch::Tensor> stages) {
  for (std::size_t i = 0; i < output_norms_.size(); ++i) {
    stages[i] = output_norms_[i]->forward(stages[i].permute({0, 2, 3, 1})).permute({0, 3, 1, 2});
  }
  return pyramid_->forward(stages);
}

void Detector::check(const DetectorBatch& batch) const {
  const auto refuse = [](const std::string& what) { throw Error(ErrorCode::kInvalidArgument, what); };
  const torch::Tensor& pictures = batch.pictures;
  if (pictures.dim() != 4 || pictures.size(0) != static_cast<std::int64_t>(batch.sizes.size())) {
    refuse(fmt::format("a batch of {} pictures has a tensor of {}, expected (pictures, channels, height, width)",
                       batch.sizes.size(), to_string(Shape(pictures.sizes().begin(), pictures.sizes().end()))));
  }
  if (pictures.size(2) % kDetectorInputMultiple != 0 || pictures.size(3) % kDetectorInputMultiple != 0) {
    refuse(fmt::format("the input of a detector is {}x{}, expected multiples of {}", pictures.size(2), pictures.size(3),
                       kDetectorInputMultiple));
  }
  for (const PictureSize& size : batch.sizes) {
    if (size.height < 1 || size.width < 1 || size.height > pictures.size(2) || size.width > pictures.size(3)) {
      refuse(fmt::format("a picture of {}x{} in an input of {}x{}", size.height, size.width, pictures.size(2),
                         pictures.size(3)));
    }
  }
}

void Detector::check(const DetectorBatch& batch, std::span<const PictureObjects> objects) const {
  const auto refuse = [](const std::string& what) { throw Error(ErrorCode::kInvalidArgument, what); };
  if (objects.size() != batch.sizes.size()) {
    refuse(fmt::format("objects of {} pictures for a batch of {}", objects.size(), batch.sizes.size()));
  }
  for (std::size_t p = 0; p < objects.size(); ++p) {
    const PictureObjects& on = objects[p];
    const PictureSize& size = batch.sizes[p];
    if (on.classes.size() != on.boxes.size() || on.masks.size() != on.boxes.size()) {
      refuse(fmt::format("picture {} has {} boxes, {} classes and {} masks", p, on.boxes.size(), on.classes.size(),
                         on.masks.size()));
    }
    for (std::size_t i = 0; i < on.boxes.size(); ++i) {
      const Box& box = on.boxes[i];
      if (!(box.width() > 0 && box.height() > 0) || !std::isfinite(box.area())) {
        refuse(fmt::format("object {} of picture {} has the box {},{} {},{}, which has no area", i, p, box.x1, box.y1,
                           box.x2, box.y2));
      }
      if (on.classes[i] < 0 || on.classes[i] >= config_.classes) {
        refuse(fmt::format("object {} of picture {} is of class {}, and the detector has {}", i, p, on.classes[i],
                           config_.classes));
      }
      const std::size_t pixels = static_cast<std::size_t>(size.height) * static_cast<std::size_t>(size.width);
      if (on.masks[i].size() != pixels) {
        refuse(fmt::format("the mask of object {} of picture {} has {} pixels, and the picture is {}x{}", i, p,
                           on.masks[i].size(), size.height, size.width));
      }
    }
  }
}

Detector::ProposalOutputs Detector::propose_at(const std::vector<torch::Tensor>& maps) {
  ProposalOutputs outputs;
  std::vector<torch::Tensor> logits, deltas;
  for (std::size_t level = 0; level < maps.size(); ++level) {
    auto [of_level, moves] = proposals_->forward(maps[level]);
    logits.push_back(std::move(of_level));
    deltas.push_back(std::move(moves));
    const int height = static_cast<int>(maps[level].size(2)), width = static_cast<int>(maps[level].size(3));
    outputs.sizes.emplace_back(height, width);
    outputs.anchors.push_back(
        anchors_of_level(height, width, kPyramidStrides[level], config_.anchor_scale, config_.anchor_ratios));
  }
  outputs.logits = torch::cat(logits, 1);
  outputs.deltas = torch::cat(deltas, 1);
  return outputs;
}

// Numbers of the anchors that a picture learns from: those whose pixel is not beyond its own padding, and where they
// have to be inside, those inside of it.
std::vector<int> Detector::usable_anchors(const ProposalOutputs& outputs, const PictureSize& size) const {
  std::vector<int> usable;
  int number = 0;
  for (std::size_t level = 0; level < outputs.anchors.size(); ++level) {
    const int stride = kPyramidStrides[level];
    const int rows = (filled_side(size.height) + stride - 1) / stride,
              columns = (filled_side(size.width) + stride - 1) / stride;
    const int shapes = config_.anchors_of_place();
    for (std::size_t i = 0; i < outputs.anchors[level].size(); ++i, ++number) {
      const int place = static_cast<int>(i) / shapes, width = outputs.sizes[level].second;
      if (place / width >= rows || place % width >= columns) continue;
      const Box& box = outputs.anchors[level][i];
      const bool is_inside = box.x1 >= 0 && box.y1 >= 0 && box.x2 < static_cast<float>(size.width) &&
                             box.y2 < static_cast<float>(size.height);
      if (!config_.anchors_inside || is_inside) usable.push_back(number);
    }
  }
  return usable;
}

void Detector::add_proposal_losses(const ProposalOutputs& outputs, const DetectorBatch& batch,
                                   std::span<const PictureObjects> objects, std::uint64_t key,
                                   NamedLosses& losses) const {
  std::vector<Box> anchors;
  for (const std::vector<Box>& level : outputs.anchors) anchors.insert(anchors.end(), level.begin(), level.end());
  const std::int64_t count = outputs.logits.size(1);
  // Places in the outputs of all pictures, and what is to be there.
  std::vector<std::int64_t> positive, negative;
  std::vector<Deltas> targets;
  std::size_t samples = 0;
  for (std::size_t p = 0; p < objects.size(); ++p) {
    const std::vector<int> usable = usable_anchors(outputs, batch.sizes[p]);
    std::vector<Box> boxes;
    boxes.reserve(usable.size());
    for (const int number : usable) boxes.push_back(anchors[static_cast<std::size_t>(number)]);
    const std::vector<int> assigned = assign(boxes, objects[p].boxes,
                                             {.positive = static_cast<float>(config_.anchor_positive),
                                              .negative = static_cast<float>(config_.anchor_negative),
                                              .low_quality = true,
                                              .low_quality_least = static_cast<float>(config_.anchor_negative)});
    const SampledBoxes chosen =
        sample(assigned, config_.anchor_samples, kAnchorPositiveShare, draws_for(key, kDrawsOfAnchors, p));
    const auto place = [&](int i) {
      return static_cast<std::int64_t>(p) * count + usable[static_cast<std::size_t>(i)];
    };
    for (const int i : chosen.positive) {
      const auto object = static_cast<std::size_t>(assigned[static_cast<std::size_t>(i)]);
      positive.push_back(place(i));
      targets.push_back(encode(boxes[static_cast<std::size_t>(i)], objects[p].boxes[object], {}));
    }
    for (const int i : chosen.negative) negative.push_back(place(i));
    samples += std::max<std::size_t>(chosen.positive.size(), 1) + std::max<std::size_t>(chosen.negative.size(), 1);
  }
  const auto device = outputs.logits.device();
  const torch::Tensor where_positive = to_tensor(positive).to(device), where_negative = to_tensor(negative).to(device);
  const torch::Tensor logits = outputs.logits.flatten().to(torch::kFloat32);
  // -log sigmoid(x) of objects, -log sigmoid(-x) of background.
  const torch::Tensor scores =
      torch::cat({logits.index_select(0, where_positive), -logits.index_select(0, where_negative)});
  losses["proposals.scores"] = -torch::log_sigmoid(scores).sum() / static_cast<double>(samples);
  const torch::Tensor deltas = outputs.deltas.flatten(0, 1).to(torch::kFloat32).index_select(0, where_positive);
  losses["proposals.boxes"] =
      smooth_l1(deltas - to_tensor(targets).to(device), config_.anchor_smooth_l1).sum() / static_cast<double>(samples);
}

std::vector<std::vector<Box>> Detector::proposals_of(const ProposalOutputs& outputs, const DetectorBatch& batch) const {
  const bool trains = is_training();
  const ProposalOptions options{.best_of_level = trains ? config_.level_proposals_train : config_.level_proposals,
                                .kept = trains ? config_.proposals_train : config_.proposals,
                                .overlap = static_cast<float>(config_.proposal_overlap)};
  const torch::Tensor logits = values_of(outputs.logits), deltas = values_of(outputs.deltas);
  const auto count = static_cast<std::size_t>(logits.size(1));
  const std::size_t levels = outputs.anchors.size(), pictures = batch.sizes.size();
  std::vector<std::size_t> firsts;
  for (std::size_t first = 0; const std::vector<Box>& anchors : outputs.anchors) {
    firsts.push_back(first);
    first += anchors.size();
  }
  // Every level of every picture for itself: choosing the best and suppression meet nothing of another one.
  std::vector<std::vector<ScoredBox>> of_levels(pictures * levels);
  at::parallel_for(0, static_cast<std::int64_t>(of_levels.size()), 1, [&](std::int64_t begin, std::int64_t end) {
    for (auto i = static_cast<std::size_t>(begin); i < static_cast<std::size_t>(end); ++i) {
      const std::size_t picture = i / levels, level = i % levels;
      const std::vector<Box>& anchors = outputs.anchors[level];
      const std::size_t first = picture * count + firsts[level];
      const PictureSize& size = batch.sizes[picture];
      of_levels[i] = propose_of_level({anchors, floats(logits).subspan(first, anchors.size()),
                                       floats(deltas).subspan(4 * first, 4 * anchors.size())},
                                      size.height, size.width, options);
    }
  });
  std::vector<std::vector<Box>> proposals;
  for (std::size_t p = 0; p < pictures; ++p) {
    proposals.push_back(best_of_levels(std::span(of_levels).subspan(p * levels, levels), options));
  }
  return proposals;
}

Detector::Samples Detector::sampled(const std::vector<std::vector<Box>>& proposals,
                                    std::span<const PictureObjects> objects, int stage, std::uint64_t key) const {
  const auto overlap = static_cast<float>(config_.stage_overlaps[static_cast<std::size_t>(stage)]);
  Samples samples;
  for (std::size_t p = 0; p < proposals.size(); ++p) {
    const std::vector<Box>& own = objects[p].boxes;
    // The objects' own boxes come before the proposals, and are theirs.
    std::vector<Box> boxes = own;
    boxes.insert(boxes.end(), proposals[p].begin(), proposals[p].end());
    std::vector<int> assigned;
    for (std::size_t i = 0; i < own.size(); ++i) assigned.push_back(static_cast<int>(i));
    const std::vector<int> of_proposals = assign(
        proposals[p], own,
        {.positive = overlap, .negative = overlap, .low_quality = config_.low_quality, .low_quality_least = overlap});
    assigned.insert(assigned.end(), of_proposals.begin(), of_proposals.end());
    const SampledBoxes chosen = sample(assigned, config_.box_samples, kBoxPositiveShare,
                                       draws_for(key, kDrawsOfAnchors + 1 + static_cast<std::uint64_t>(stage), p));
    const auto add = [&](int number, int object) {
      const auto i = static_cast<std::size_t>(number);
      samples.regions.push_back({static_cast<int>(p), boxes[i]});
      samples.objects.push_back(object);
      samples.are_objects.push_back(i < own.size() ? 1 : 0);
    };
    for (const int i : chosen.positive) add(i, assigned[static_cast<std::size_t>(i)]);
    for (const int i : chosen.negative) add(i, kBackground);
  }
  return samples;
}

torch::Tensor Detector::box_loss(const Samples& samples, std::span<const PictureObjects> objects,
                                 const torch::Tensor& deltas, int stage) const {
  std::vector<std::int64_t> places;  // in deltas as (regions * classes, 4)
  std::vector<Box> boxes, targets;
  for (std::size_t i = 0; i < samples.regions.size(); ++i) {
    if (samples.objects[i] < 0) continue;
    const PictureObjects& on = objects[static_cast<std::size_t>(samples.regions[i].picture)];
    const auto object = static_cast<std::size_t>(samples.objects[i]);
    places.push_back(static_cast<std::int64_t>(i) * config_.classes + on.classes[object]);
    boxes.push_back(samples.regions[i].box);
    targets.push_back(on.boxes[object]);
  }
  const auto device = deltas.device();
  const torch::Tensor predicted =
      deltas.flatten(0, 1).to(torch::kFloat32).index_select(0, to_tensor(places).to(device));
  const auto regions = static_cast<double>(samples.regions.size());
  const DeltaUnits units = units_of(config_, stage);
  if (config_.box_loss == DetectorConfig::BoxLoss::kGiou) {
    const torch::Tensor decoded = decode_boxes(to_tensor(boxes).to(device), predicted, units);
    return kGiouWeight * giou_loss(decoded, to_tensor(targets).to(device)).sum() / regions;
  }
  std::vector<Deltas> changes;
  for (std::size_t i = 0; i < boxes.size(); ++i) changes.push_back(encode(boxes[i], targets[i], units));
  return smooth_l1(predicted - to_tensor(changes).to(device), 0).sum() / regions;
}

torch::Tensor Detector::mask_loss(const std::vector<torch::Tensor>& maps, const Samples& samples,
                                  const DetectorBatch& batch, std::span<const PictureObjects> objects, int stage,
                                  LearningTimer& timer) {
  const int side = 2 * config_.mask_bins;
  const auto pixels = static_cast<std::size_t>(side) * static_cast<std::size_t>(side);
  // By picture and object, so that each mask is made to floats once.
  std::vector<RegionOfInterest> regions;
  std::vector<std::int64_t> channels;  // of the logits as (regions * classes, side, side)
  std::vector<float> targets;
  for (std::size_t p = 0; p < objects.size(); ++p) {
    for (std::size_t o = 0; o < objects[p].boxes.size(); ++o) {
      std::vector<Box> boxes;
      for (std::size_t i = 0; i < samples.regions.size(); ++i) {
        const bool is_of_object =
            static_cast<std::size_t>(samples.regions[i].picture) == p && samples.objects[i] == static_cast<int>(o);
        if (!is_of_object) continue;
        channels.push_back(static_cast<std::int64_t>(regions.size()) * config_.classes + objects[p].classes[o]);
        regions.push_back(samples.regions[i]);
        boxes.push_back(samples.regions[i].box);
      }
      if (boxes.empty()) continue;
      const PictureSize& size = batch.sizes[p];
      const std::vector<float> of_object = mask_targets(objects[p].masks[o], size.height, size.width, boxes, side);
      targets.insert(targets.end(), of_object.begin(), of_object.end());
    }
  }
  if (regions.empty()) return no_loss(maps.front());
  TORCH_CHECK(targets.size() == regions.size() * pixels);
  const torch::Tensor logits =
      mask_heads_[static_cast<std::size_t>(stage)]->forward(pool_regions(maps, regions, config_.mask_bins));
  // Behind the last masks are their own losses; behind others the boxes of the next stage.
  timer.watch(logits, stage + 1 == config_.stages() ? DetectorPart::kMasks : DetectorPart::kBoxes);
  const auto device = logits.device();
  const torch::Tensor of_class =
      logits.flatten(0, 1).to(torch::kFloat32).index_select(0, to_tensor(channels).to(device));
  const torch::Tensor wanted = torch::from_blob(targets.data(), of_class.sizes(), torch::kFloat32).clone().to(device);
  return torch::binary_cross_entropy_with_logits(of_class, wanted);
}

// The boxes of the next stage of a cascade: each region changed as its class says, or, where it has none, the class
// that scores best; within the picture.
std::vector<std::vector<Box>> Detector::refined(const std::vector<RegionOfInterest>& regions,
                                                const std::vector<int>& classes,
                                                const std::vector<std::uint8_t>& left_out, const torch::Tensor& logits,
                                                const torch::Tensor& deltas, const DetectorBatch& batch,
                                                int stage) const {
  const torch::Tensor score_values = values_of(logits), delta_values = values_of(deltas);
  const auto scores_of_region = static_cast<std::size_t>(config_.classes) + 1;
  std::vector<std::vector<Box>> boxes(batch.sizes.size());
  for (std::size_t i = 0; i < regions.size(); ++i) {
    if (!left_out.empty() && left_out[i] != 0) continue;
    int of_class = classes.empty() ? kBackground : classes[i];
    if (of_class < 0) of_class = best_class(floats(score_values).subspan(i * scores_of_region, scores_of_region));
    const std::size_t at = 4 * (i * static_cast<std::size_t>(config_.classes) + static_cast<std::size_t>(of_class));
    const std::span<const float> d = floats(delta_values).subspan(at, 4);
    const auto picture = static_cast<std::size_t>(regions[i].picture);
    const PictureSize& size = batch.sizes[picture];
    boxes[picture].push_back(
        clipped(decode(regions[i].box, {d[0], d[1], d[2], d[3]}, units_of(config_, stage)), size.height, size.width));
  }
  return boxes;
}

NamedLosses Detector::losses(const DetectorBatch& batch, std::span<const PictureObjects> objects, std::uint64_t key,
                             LearningSeconds* seconds) {
  check(batch);
  check(batch, objects);
  NamedLosses losses;
  LearningTimer timer(seconds, batch.pictures.device());
  std::vector<torch::Tensor> stages = backbone_->forward(batch.pictures, key).stages;
  timer.lap(DetectorPart::kBackbone);
  for (torch::Tensor& stage : stages) {
    // Its output goes on in the backbone, too: what the pyramid takes of it is watched for itself.
    if (seconds != nullptr) stage = stage.view_as(stage);
    timer.watch(stage, DetectorPart::kPyramid);
  }
  const std::vector<torch::Tensor> maps = pyramid_of(std::move(stages));
  timer.lap(DetectorPart::kPyramid);
  for (const torch::Tensor& map : maps) timer.watch(map, DetectorPart::kProposals);
  const ProposalOutputs outputs = propose_at(maps);
  for (const torch::Tensor& output : {outputs.logits, outputs.deltas}) timer.watch(output, DetectorPart::kBoxes);
  add_proposal_losses(outputs, batch, objects, key, losses);

  std::vector<std::vector<Box>> proposals = proposals_of(outputs, batch);
  timer.lap(DetectorPart::kProposals);
  for (int stage = 0; stage < config_.stages(); ++stage) {
    const auto at = static_cast<std::size_t>(stage);
    const double weight = config_.stage_weights[at];
    const auto name = [stage](std::string_view loss) { return fmt::format("stage{}.{}", stage, loss); };
    const Samples samples = sampled(proposals, objects, stage, key);
    if (samples.regions.empty()) {
      for (const char* loss : {"scores", "boxes", "masks"}) losses[name(loss)] = no_loss(maps.front());
      continue;
    }
    std::vector<int> classes;
    std::vector<std::int64_t> labels;
    for (std::size_t i = 0; i < samples.regions.size(); ++i) {
      const auto& of_picture = objects[static_cast<std::size_t>(samples.regions[i].picture)].classes;
      const int object = samples.objects[i];
      classes.push_back(object < 0 ? kBackground : of_picture[static_cast<std::size_t>(object)]);
      labels.push_back(object < 0 ? config_.classes : classes.back());
    }
    const auto [logits, deltas] = box_heads_[at]->forward(pool_regions(maps, samples.regions, config_.box_bins));
    for (const torch::Tensor& output : {logits, deltas}) timer.watch(output, DetectorPart::kMasks);
    const torch::Tensor wanted = to_tensor(labels).to(logits.device());
    losses[name("scores")] = weight * torch::cross_entropy_loss(logits.to(torch::kFloat32), wanted);
    losses[name("boxes")] = weight * box_loss(samples, objects, deltas, stage);
    timer.lap(DetectorPart::kBoxes);
    losses[name("masks")] = weight * mask_loss(maps, samples, batch, objects, stage, timer);
    timer.lap(DetectorPart::kMasks);
    if (stage + 1 == config_.stages()) break;
    proposals = refined(samples.regions, classes, samples.are_objects, logits, deltas, batch, stage);
  }
  timer.start_back();
  return losses;
}

std::vector<std::vector<Detection>> Detector::detect(const DetectorBatch& batch, DetectorSeconds* seconds) {
  check(batch);
  const torch::NoGradGuard no_grad;
  PartTimer timer(seconds, batch.pictures.device());
  std::vector<torch::Tensor> stages =
      stage_maps_ ? stage_maps_(batch.pictures) : backbone_->forward(batch.pictures).stages;
  timer.lap(DetectorPart::kBackbone);
  const std::vector<torch::Tensor> maps = pyramid_of(std::move(stages));
  timer.lap(DetectorPart::kPyramid);
  std::vector<std::vector<Box>> boxes = proposals_of(propose_at(maps), batch);
  timer.lap(DetectorPart::kProposals);
  std::vector<std::vector<Detection>> detections(batch.sizes.size());

  std::vector<RegionOfInterest> regions;
  torch::Tensor logits, deltas, summed;
  for (int stage = 0; stage < config_.stages(); ++stage) {
    if (stage > 0) boxes = refined(regions, {}, {}, logits, deltas, batch, stage - 1);
    regions.clear();
    for (std::size_t p = 0; p < boxes.size(); ++p) {
      for (const Box& box : boxes[p]) regions.push_back({static_cast<int>(p), box});
    }
    if (regions.empty()) return detections;
    std::tie(logits, deltas) =
        box_heads_[static_cast<std::size_t>(stage)]->forward(pool_regions(maps, regions, config_.box_bins));
    summed = stage == 0 ? logits : summed + logits;
  }

  // mmdetection averages the logits of the stages, not their probabilities.
  const torch::Tensor scores = values_of(torch::softmax(summed.to(torch::kFloat32) / config_.stages(), 1));
  const torch::Tensor changes = values_of(deltas);
  const DetectionOptions options{.score = static_cast<float>(config_.score_threshold),
                                 .overlap = static_cast<float>(config_.detection_overlap),
                                 .kept = config_.detections};
  const auto classes = static_cast<std::size_t>(config_.classes);
  std::size_t first = 0;
  for (std::size_t p = 0; p < boxes.size(); ++p) {
    std::vector<Box> of_classes;
    of_classes.reserve(boxes[p].size() * classes);
    const PictureSize& size = batch.sizes[p];
    for (std::size_t i = 0; i < boxes[p].size() * classes; ++i) {
      const std::span<const float> d = floats(changes).subspan(4 * (first * classes + i), 4);
      const Box& from = boxes[p][i / classes];
      of_classes.push_back(clipped(decode(from, {d[0], d[1], d[2], d[3]}, units_of(config_, config_.stages() - 1)),
                                   size.height, size.width));
    }
    const auto own = floats(scores).subspan(first * (classes + 1), boxes[p].size() * (classes + 1));
    detections[p] = select_detections(of_classes, own, config_.classes, options);
    first += boxes[p].size();
  }
  timer.lap(DetectorPart::kBoxes);
  add_masks(maps, detections);
  timer.lap(DetectorPart::kMasks);
  return detections;
}

void Detector::add_masks(const std::vector<torch::Tensor>& maps, std::vector<std::vector<Detection>>& detections) {
  std::vector<RegionOfInterest> regions;
  std::vector<std::int64_t> channels;
  for (std::size_t p = 0; p < detections.size(); ++p) {
    for (const Detection& detection : detections[p]) {
      channels.push_back(static_cast<std::int64_t>(regions.size()) * config_.classes + detection.class_index);
      regions.push_back({static_cast<int>(p), detection.box});
    }
  }
  if (regions.empty()) return;
  const torch::Tensor pooled = pool_regions(maps, regions, config_.mask_bins);
  torch::Tensor probabilities;
  for (const std::shared_ptr<MaskHead>& head : mask_heads_) {
    const torch::Tensor logits = head->forward(pooled).flatten(0, 1).to(torch::kFloat32);
    const torch::Tensor of_class = torch::sigmoid(logits.index_select(0, to_tensor(channels).to(logits.device())));
    probabilities = probabilities.defined() ? probabilities + of_class : of_class;
  }
  probabilities = values_of(probabilities / static_cast<double>(mask_heads_.size()));
  const auto pixels = static_cast<std::size_t>(probabilities.size(1) * probabilities.size(2));
  std::size_t i = 0;
  for (std::vector<Detection>& of_picture : detections) {
    for (Detection& detection : of_picture) {
      const auto mask = floats(probabilities).subspan(pixels * i++, pixels);
      detection.mask.assign(mask.begin(), mask.end());
    }
  }
}

}  // namespace convnext
