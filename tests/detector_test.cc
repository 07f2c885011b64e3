// Detectors in libtorch: against the definitions written in Python (tools/goldens/detectors.py, detector_parts.py), and
// what must hold of any of them.
#include "detect/detector.h"

#include <gmock/gmock.h>
#include <torch/torch.h>

#include <chrono>
#include <cmath>
#include <set>

#include "core/hash.h"
#include "detect/losses.h"
#include "detect/pyramid_level.h"
#include "detect/region_pooling.h"
#include "model/detector_registry.h"
#include "model/detector_weights.h"
#include "model/formula.h"
#include "model/registry.h"
#include "tests/expect_error.h"
#include "tests/golden.h"
#include "tests/torch_tensors.h"

namespace convnext {
namespace {

using testing::IsEmpty;
using testing::SizeIs;

constexpr std::uint64_t kSeed = 11;
const std::vector<PictureSize> kSizes = {{90, 125}, {64, 90}};

// That of tools/goldens/detectors.py.
DetectorConfig small(std::string_view name) {
  DetectorConfig config = find_detector(name).value().config;
  if (auto* convnext = std::get_if<ConvNextConfig>(&config.backbone)) {
    convnext->depths = {1, 1, 1, 1};
    convnext->dims = {8, 16, 24, 32};
  }
  config.classes = 5;
  config.pyramid_channels = 12;
  config.box_hidden = 20;
  config.box_bins = 3;
  config.mask_bins = 4;
  config.anchor_scale = 4;
  config.level_proposals_train = 80;
  config.proposals_train = 60;
  config.level_proposals = 70;
  config.proposals = 40;
  config.detections = 30;
  // More than there are boxes: nothing is drawn.
  config.anchor_samples = 100000;
  config.box_samples = 100000;
  return config;
}

struct Kind {
  std::string name, detector;
};
const Kind kKinds[] = {{"mask_rcnn", "mask_rcnn_convnext_atto"}, {"cascade", "cascade_mask_rcnn_convnext_atto"}};

std::unique_ptr<Detector> with_formula_weights(const DetectorConfig& config) {
  auto detector = std::make_unique<Detector>(config);
  load_weights(*detector, formula_weights(tensor_specs(config), kSeed));
  return detector;
}

DetectorBatch pictures_of(const std::vector<PictureSize>& sizes) {
  const auto n = static_cast<std::int64_t>(sizes.size());
  torch::Tensor pictures = to_torch(formula_input("input", {n, 3, 96, 128}, kSeed)) * 8;
  for (std::int64_t p = 0; p < n; ++p) {
    const PictureSize& size = sizes[static_cast<std::size_t>(p)];
    pictures[p].slice(1, size.height).zero_();
    pictures[p].slice(2, size.width).zero_();
  }
  return {pictures.contiguous(torch::MemoryFormat::ChannelsLast), sizes};
}

class DetectorGolden : public testing::TestWithParam<Kind> {
 protected:
  Tensor tensor(const std::string& name) const { return golden_tensor(file_, name); }
  std::vector<int> integers(const std::string& name) const {
    const Tensor values = tensor(name);
    return {values.values<std::int64_t>().begin(), values.values<std::int64_t>().end()};
  }
  std::vector<PictureObjects> objects() const {
    std::vector<PictureObjects> all;
    for (std::size_t p = 0; p < kSizes.size(); ++p) {
      const std::string name = "objects." + std::to_string(p);
      PictureObjects& on = all.emplace_back();
      const Tensor boxes = tensor(name + ".boxes"), masks = tensor(name + ".masks");
      const auto rows = boxes.values<float>();
      on.classes = integers(name + ".classes");
      const auto pixels = static_cast<std::size_t>(kSizes[p].height * kSizes[p].width);
      for (std::size_t i = 0; i < on.classes.size(); ++i) {
        on.boxes.push_back({rows[4 * i], rows[4 * i + 1], rows[4 * i + 2], rows[4 * i + 3]});
        const auto mask = masks.values<std::uint8_t>().subspan(i * pixels, pixels);
        on.masks.emplace_back(mask.begin(), mask.end());
      }
    }
    return all;
  }

  SafetensorsFile file_ = SafetensorsFile::open(golden_path("detectors.safetensors"));
};

// Thirty layers of float32 in another order of sums: twice the bounds of a network.
constexpr TensorBounds kDeep{.relative = 1e-5, .largest = 2e-5};

TEST_P(DetectorGolden, MapsOfThePyramidAreTheReferences) {
  const auto detector = with_formula_weights(small(GetParam().detector));
  detector->eval();
  const torch::NoGradGuard no_grad;
  const std::vector<torch::Tensor> maps = detector->pyramid(pictures_of(kSizes).pictures);
  ASSERT_THAT(maps, SizeIs(5u));
  for (std::size_t i = 0; i < maps.size(); ++i) {
    EXPECT_TRUE(tensors_close(from_torch(maps[i]), tensor(GetParam().name + ".pyramid." + std::to_string(i))))
        << "level " << i;
  }
}

TEST_P(DetectorGolden, DetectionsAreTheReferences) {
  const auto detector = with_formula_weights(small(GetParam().detector));
  detector->eval();
  const std::vector<std::vector<Detection>> found = detector->detect(pictures_of(kSizes));
  ASSERT_THAT(found, SizeIs(2u));
  for (std::size_t p = 0; p < found.size(); ++p) {
    SCOPED_TRACE(p);
    const std::string name = GetParam().name + "." + std::to_string(p);
    std::vector<float> boxes, scores, masks;
    std::vector<int> classes;
    for (const Detection& detection : found[p]) {
      boxes.insert(boxes.end(), {detection.box.x1, detection.box.y1, detection.box.x2, detection.box.y2});
      scores.push_back(detection.score);
      masks.insert(masks.end(), detection.mask.begin(), detection.mask.end());
      classes.push_back(detection.class_index);
    }
    EXPECT_EQ(classes, integers(name + ".classes"));
    const Tensor expected_boxes = tensor(name + ".boxes"), expected_scores = tensor(name + ".scores"),
                 expected_masks = tensor(name + ".masks");
    EXPECT_TRUE(tensors_close(boxes, expected_boxes.values<float>(), kDeep));
    EXPECT_TRUE(tensors_close(scores, expected_scores.values<float>(), kDeep));
    EXPECT_TRUE(tensors_close(masks, expected_masks.values<float>(), kDeep));
  }
}

TEST_P(DetectorGolden, LossesAndGradientsAreTheReferences) {
  const auto detector = with_formula_weights(small(GetParam().detector));
  detector->train();
  const NamedLosses losses = detector->losses(pictures_of(kSizes), objects(), /*key=*/1);
  torch::Tensor sum = torch::zeros({});
  std::size_t compared = 0;
  for (const auto& [name, loss] : losses) {
    EXPECT_TRUE(tensors_close(from_torch(loss.reshape({1})), tensor(GetParam().name + ".losses." + name), kDeep))
        << name;
    sum = sum + loss;
  }
  sum.backward();
  const auto parameters = detector->named_parameters();
  const std::string prefix = GetParam().name + ".gradient.";
  for (const auto& [name, view] : file_.tensors()) {
    if (!name.starts_with(prefix)) continue;
    const torch::Tensor* parameter = parameters.find(name.substr(prefix.size()));
    ASSERT_NE(parameter, nullptr) << name;
    // Through the backward pass as well, with its own sums.
    EXPECT_TRUE(tensors_close(from_torch(parameter->grad()), tensor(name), {.relative = 2e-5, .largest = 5e-5}))
        << name;
    ++compared;
  }
  EXPECT_EQ(compared, 11u);
  EXPECT_EQ(losses.size(), 2 + 3 * static_cast<std::size_t>(detector->config().stages()));
}

// Fewer samples than boxes, fewer objects than their share, and on the second picture none at all.
TEST_P(DetectorGolden, LossesOfFewSamplesAreTheReferences) {
  DetectorConfig config = small(GetParam().detector);
  config.anchor_samples = 6;
  config.box_samples = 12;
  const auto detector = with_formula_weights(config);
  detector->train();
  const std::vector<PictureObjects> on = {objects().front(), {}};
  const NamedLosses losses = detector->losses(pictures_of(kSizes), on, /*key=*/1);
  EXPECT_EQ(losses.size(), 2 + 3 * static_cast<std::size_t>(config.stages()));
  for (const auto& [name, loss] : losses) {
    EXPECT_TRUE(tensors_close(from_torch(loss.reshape({1})), tensor(GetParam().name + ".few." + name), kDeep)) << name;
  }
}

INSTANTIATE_TEST_SUITE_P(Kinds, DetectorGolden, testing::ValuesIn(kKinds),
                         [](const auto& info) { return info.param.name == "cascade" ? "Cascade" : "MaskRcnn"; });

// Backbones of every family, as small as they go.
DetectorConfig small_over(std::string_view name) {
  DetectorConfig config = small(name);
  if (auto* resnet = std::get_if<ResNetConfig>(&config.backbone)) {
    resnet->depths = {1, 1, 1, 1};
    resnet->dims = {8, 8, 16, 16};
  }
  if (auto* swin = std::get_if<SwinConfig>(&config.backbone)) {
    swin->depths = {1, 2, 1, 1};
    swin->dims = {8, 16, 16, 32};
    swin->heads = {1, 2, 2, 4};
  }
  return config;
}
constexpr const char* kDetectors[] = {"mask_rcnn_convnext_atto", "cascade_mask_rcnn_convnextv2_atto",
                                      "cascade_mask_rcnn_resnet50", "mask_rcnn_swin_tiny"};

std::vector<PictureObjects> some_objects() {
  PictureObjects on;
  on.boxes = {{20, 15, 55, 60}, {60, 20, 118, 80}};
  on.classes = {0, 3};
  for (const Box& box : on.boxes) {
    std::vector<std::uint8_t>& mask = on.masks.emplace_back(90 * 125, std::uint8_t{0});
    for (int y = static_cast<int>(box.y1); y < static_cast<int>(box.y2); ++y) {
      for (int x = static_cast<int>(box.x1); x < 3 * y && x < static_cast<int>(box.x2); ++x) {
        mask[static_cast<std::size_t>(y * 125 + x)] = 1;
      }
    }
  }
  return {on, {}};  // nothing on the second picture
}

torch::Tensor total(const NamedLosses& losses) {
  torch::Tensor sum = torch::zeros({});
  for (const auto& [name, loss] : losses) sum = sum + loss;
  return sum;
}

TEST(DetectorModule, TensorsAreThoseOfTheDescription) {
  for (const char* name : kDetectors) {
    const DetectorConfig config = small_over(name);
    const Detector detector(config);
    std::map<std::string, Shape> expected, actual;
    for (const TensorSpec& spec : tensor_specs(config)) expected[spec.name] = spec.shape;
    const WeightStore weights = copy_weights(detector);
    for (const auto& [key, view] : weights.all()) actual[key] = view.shape;
    EXPECT_EQ(actual, expected) << name;
  }
}

TEST(DetectorModule, BackbonesAreTheNetworksWithoutTheirHeads) {
  for (const char* name : kDetectors) {
    SCOPED_TRACE(name);
    const NetworkConfig config = small_over(name).backbone;
    const WeightStore weights = formula_weights(config, 2);
    const auto network = make_network(config);
    const auto backbone = make_backbone(config);
    for (const auto& module : {network, backbone}) {
      load_weights(*module, weights);
      module->eval();
    }
    const torch::NoGradGuard no_grad;
    const torch::Tensor pictures = formula_pictures({1, 3, 96, 64}, 2);
    const NetworkOutputs whole = network->forward(pictures), stages = backbone->forward(pictures);
    EXPECT_TRUE(whole.logits.defined());
    EXPECT_FALSE(stages.logits.defined() || stages.pooled.defined());
    ASSERT_EQ(stages.stages.size(), whole.stages.size());
    for (std::size_t i = 0; i < stages.stages.size(); ++i) {
      EXPECT_TRUE(torch::equal(stages.stages[i], whole.stages[i])) << "stage " << i;
    }
  }
  expect_error(ErrorCode::kUnsupported, {"regnet"}, [] { make_backbone(architecture("regnety_040").network); });
}

TEST(DetectorModule, EveryParameterLearns) {
  for (const char* name : kDetectors) {
    SCOPED_TRACE(name);
    DetectorConfig config = small_over(name);
    config.anchors_inside = false;  // on so small a picture the largest have no place
    const auto detector = with_formula_weights(config);
    detector->train();
    total(detector->losses(pictures_of(kSizes), some_objects(), 1)).backward();
    std::size_t frozen = 0;
    for (const auto& parameter : detector->named_parameters()) {
      if (!parameter.value().requires_grad()) {
        ++frozen;
        EXPECT_TRUE(parameter.key().starts_with("backbone.")) << parameter.key();
        continue;
      }
      ASSERT_TRUE(parameter.value().grad().defined()) << parameter.key();
      EXPECT_TRUE(parameter.value().grad().isfinite().all().item<bool>()) << parameter.key();
      EXPECT_GT(parameter.value().grad().abs().max().item<float>(), 0) << parameter.key();
    }
    // The stem and the first stage of a ResNet: two convolutions and norms before, four with the shortcut's in the
    // block.
    EXPECT_EQ(frozen, std::holds_alternative<ResNetConfig>(config.backbone) ? 3u * 5u : 0u);
  }
}

// Batch norms of a backbone stand still, those of the heads do not.
TEST(DetectorModule, OnlyHeadsMoveTheirStatistics) {
  const auto detector = with_formula_weights(small_over("cascade_mask_rcnn_resnet50"));
  detector->train();
  const WeightStore before = copy_weights(*detector);
  detector->losses(pictures_of(kSizes), some_objects(), 1);
  const WeightStore after = copy_weights(*detector);
  for (const auto& [name, view] : before.all()) {
    const bool moves = name.starts_with("box_heads.") && name.find("running_") != std::string::npos;
    EXPECT_EQ(before.floats(name) != after.floats(name), moves) << name;
  }
}

TEST(DetectorBatches, HoldPicturesOfSeveralSizes) {
  DetectorCard card;
  card.mean = {0.5f, 0.25f, 0.125f};
  card.std = {0.5f, 0.25f, 0.5f};
  const std::vector<Image> pictures = {formula_picture(40, 70, 1), formula_picture(100, 33, 2)};
  const DetectorBatch batch = make_batch(pictures, card);
  EXPECT_EQ(batch.pictures.sizes(), (std::vector<std::int64_t>{2, 3, 96, 128}));
  EXPECT_TRUE(batch.pictures.is_contiguous(torch::MemoryFormat::ChannelsLast));
  EXPECT_THAT(batch.sizes, testing::ElementsAre(PictureSize{70, 40}, PictureSize{33, 100}));
  for (int p = 0; p < 2; ++p) {
    const Image& picture = pictures[static_cast<std::size_t>(p)];
    for (const auto& [y, x] : {std::pair{0, 0}, std::pair{32, 39}, std::pair{20, 11}}) {
      for (int c = 0; c < 3; ++c) {
        const auto at = static_cast<std::size_t>(3 * (y * picture.width + x) + c);
        const float expected =
            (static_cast<float>(picture.pixels[at]) / 255.0f - card.mean[static_cast<std::size_t>(c)]) /
            card.std[static_cast<std::size_t>(c)];
        EXPECT_NEAR((batch.pictures[p][c][y][x].item<float>()), expected, 1e-6);
      }
    }
    EXPECT_EQ(batch.pictures[p].slice(1, picture.height).abs().sum().item<float>(), 0);
    EXPECT_EQ(batch.pictures[p].slice(2, picture.width).abs().sum().item<float>(), 0);
  }
  expect_error(ErrorCode::kInvalidArgument, {"no pictures"}, [&] { make_batch({}, card); });
}

// Levels of proposals and regions are shared out; what is found is not another thing for it.
TEST(DetectorModule, FindsTheSameWithAnyNumberOfThreads) {
  const auto detector = with_formula_weights(small("cascade_mask_rcnn_convnext_atto"));
  detector->eval();
  const auto found_by = [&](int threads) {
    at::set_num_threads(threads);
    std::vector<float> values;
    for (const auto& of_picture : detector->detect(pictures_of(kSizes))) {
      for (const Detection& one : of_picture) {
        values.insert(values.end(), {one.box.x1, one.box.y1, one.box.x2, one.box.y2, one.score});
        values.push_back(static_cast<float>(one.class_index));
      }
    }
    return values;
  };
  const int before = at::get_num_threads();
  const std::vector<float> alone = found_by(1);
  EXPECT_FALSE(alone.empty());
  for (const int threads : {2, 3, 7}) EXPECT_TRUE(tensors_close(found_by(threads), alone, kDeep)) << threads;
  at::set_num_threads(before);
}

TEST(DetectorModule, DrawsFollowFromTheKey) {
  DetectorConfig config = small("mask_rcnn_convnext_atto");
  config.anchor_samples = 16;
  config.box_samples = 16;
  const auto detector = with_formula_weights(config);
  const auto loss = [&](std::uint64_t key) {
    return total(detector->losses(pictures_of(kSizes), some_objects(), key)).item<float>();
  };
  std::set<float> values;
  for (std::uint64_t key = 1; key <= 5; ++key) {
    const float value = loss(key);
    EXPECT_EQ(loss(key), value);
    values.insert(value);
  }
  EXPECT_EQ(values.size(), 5u);
}

// What cross entropies are where nothing is known yet: all logits 0.
TEST(DetectorModule, LossesOfNoKnowledgeAreLogarithms) {
  const DetectorConfig config = small("cascade_mask_rcnn_convnext_atto");
  const auto detector = with_formula_weights(config);
  {
    const torch::NoGradGuard no_grad;
    for (auto& parameter : detector->named_parameters()) {
      const std::string& name = parameter.key();
      const bool scores = name.find(".scores.") != std::string::npos || name.find(".logits.") != std::string::npos;
      if (scores && !name.starts_with("backbone.")) parameter.value().zero_();
    }
  }
  // A picture without objects would count as one anchor more.
  const std::vector<PictureObjects> twice(2, some_objects().front());
  const NamedLosses losses = detector->losses(pictures_of({kSizes[0], kSizes[0]}), twice, 1);
  EXPECT_NEAR(losses.at("proposals.scores").item<double>(), std::log(2.0), 1e-6);
  for (int stage = 0; stage < 3; ++stage) {
    const std::string name = "stage" + std::to_string(stage);
    const double weight = config.stage_weights[static_cast<std::size_t>(stage)];
    EXPECT_NEAR(losses.at(name + ".scores").item<double>(), weight * std::log(6.0), 1e-6);
    EXPECT_NEAR(losses.at(name + ".masks").item<double>(), weight * std::log(2.0), 1e-6);
  }
}

TEST(DetectorModule, LearnsFromPicturesWithoutObjects) {
  const auto detector = with_formula_weights(small("cascade_mask_rcnn_convnext_atto"));
  detector->train();
  const NamedLosses losses = detector->losses(pictures_of(kSizes), std::vector<PictureObjects>(2), 1);
  for (const auto& [name, loss] : losses) {
    const bool is_zero = name.ends_with(".boxes") || name.ends_with(".masks");
    EXPECT_EQ(loss.item<float>() == 0, is_zero) << name;
    EXPECT_TRUE(std::isfinite(loss.item<float>())) << name;
  }
  total(losses).backward();
}

// Every part has a time on both ways, and together they are no more than what passes.
TEST(DetectorModule, TellsTheTimeOfItsPartsInLearning) {
  for (const char* name : {"mask_rcnn_convnext_atto", "cascade_mask_rcnn_convnext_atto"}) {
    DetectorConfig config = small(name);
    config.anchors_inside = false;
    std::get<ConvNextConfig>(config.backbone).depths = {1, 1, 16, 1};
    const auto detector = with_formula_weights(config);
    detector->train();
    LearningSeconds seconds;
    const auto start = std::chrono::steady_clock::now();
    total(detector->losses(pictures_of(kSizes), some_objects(), 1, &seconds)).backward();
    const double passed = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
    double sum = 0;
    for (const DetectorPart part : kDetectorParts) {
      const auto i = static_cast<std::size_t>(part);
      EXPECT_GT(seconds.forward[i], 0) << name_of(part);
      EXPECT_GT(seconds.backward[i], 0) << name_of(part);
      sum += seconds.forward[i] + seconds.backward[i];
    }
    // Most of the backbone lies between two maps that the pyramid takes.
    const auto backward = [&seconds](DetectorPart part) { return seconds.backward[static_cast<std::size_t>(part)]; };
    EXPECT_GT(backward(DetectorPart::kBackbone), backward(DetectorPart::kPyramid));
    EXPECT_LE(sum, passed);
    EXPECT_GT(sum, 0.8 * passed);
    // The losses are the same as without a clock.
    EXPECT_EQ(total(detector->losses(pictures_of(kSizes), some_objects(), 1, &seconds)).item<float>(),
              total(detector->losses(pictures_of(kSizes), some_objects(), 1)).item<float>());
  }
}

TEST(DetectorModule, RefusesWhatContradictsItself) {
  Detector detector(small("mask_rcnn_convnext_atto"));
  const DetectorBatch batch = pictures_of(kSizes);
  const auto refused = [&](std::initializer_list<std::string> texts, const auto& change) {
    DetectorBatch changed = batch;
    std::vector<PictureObjects> objects = some_objects();
    change(changed, objects);
    expect_error(ErrorCode::kInvalidArgument, texts, [&] { detector.losses(changed, objects, 1); });
  };
  refused({"1 pictures", "2"}, [](DetectorBatch& changed, auto&) { changed.sizes.pop_back(); });
  refused({"96x120", "32"},
          [](DetectorBatch& changed, auto&) { changed.pictures = changed.pictures.slice(3, 0, 120); });
  refused({"97x10"}, [](DetectorBatch& changed, auto&) { changed.sizes[1] = {97, 10}; });
  refused({"objects of 1"}, [](DetectorBatch&, auto& objects) { objects.pop_back(); });
  refused({"no area"}, [](DetectorBatch&, auto& objects) { objects[0].boxes[1].x2 = 60; });
  refused({"no area"}, [](DetectorBatch&, auto& objects) { objects[0].boxes[0].y1 = std::nanf(""); });
  refused({"class 5"}, [](DetectorBatch&, auto& objects) { objects[0].classes[0] = 5; });
  refused({"mask of object 1", "90x125"}, [](DetectorBatch&, auto& objects) { objects[0].masks[1].pop_back(); });
  refused({"2 boxes", "1 masks"}, [](DetectorBatch&, auto& objects) { objects[0].masks.pop_back(); });
}

// A detector whose deltas are not finite finds nothing, and does not fall.
TEST(DetectorModule, OfWeightsThatAreNoNumbersFindsNothing) {
  const auto detector = with_formula_weights(small("cascade_mask_rcnn_convnext_atto"));
  {
    const torch::NoGradGuard no_grad;
    detector->named_parameters()["proposals.deltas.bias"].fill_(std::nanf(""));
  }
  detector->eval();
  for (const auto& of_picture : detector->detect(pictures_of(kSizes))) EXPECT_THAT(of_picture, IsEmpty());
}

class DetectorLosses : public testing::Test {
 protected:
  torch::Tensor tensor(const std::string& name) const { return to_torch(golden_tensor(file_, name)); }
  Tensor golden(const std::string& name) const { return golden_tensor(file_, name); }
  SafetensorsFile file_ = SafetensorsFile::open(golden_path("detector_parts.safetensors"));
};

TEST_F(DetectorLosses, GiouIsTorchvisions) {
  const torch::Tensor boxes = tensor("giou.predicted").requires_grad_();
  const torch::Tensor losses = giou_loss(boxes, tensor("giou.target"));
  losses.sum().backward();
  EXPECT_TRUE(tensors_close(from_torch(losses), golden("giou.losses"), {.relative = 1e-6, .largest = 1e-6}));
  // For equal boxes the gradient of min and max is anybody's: the first row is left out.
  EXPECT_TRUE(tensors_close(from_torch(boxes.grad().slice(0, 1)), from_torch(tensor("giou.gradient").slice(0, 1))));
  const torch::Tensor nothing = torch::tensor({{5.0f, 5.0f, 5.0f, 5.0f}});
  EXPECT_TRUE(giou_loss(nothing, nothing).isfinite().all().item<bool>());
}

TEST_F(DetectorLosses, SmoothL1IsTorchs) {
  const torch::Tensor difference = tensor("smooth.difference");
  EXPECT_TRUE(tensors_close(from_torch(smooth_l1(difference, 1.0 / 9.0)), golden("smooth.losses")));
  EXPECT_TRUE(torch::equal(smooth_l1(difference, 0), difference.abs()));
}

TEST_F(DetectorLosses, BoxesAreDecodedAsWithoutGradient) {
  const torch::Tensor from = tensor("coding.from");
  EXPECT_TRUE(tensors_close(from_torch(decode_boxes(from, tensor("coding.deltas"), {0.05f, 0.1f})),
                            golden("coding.2.decoded"), {.relative = 1e-6, .largest = 2e-6}));
  EXPECT_TRUE(tensors_close(from_torch(decode_boxes(from, tensor("coding.extreme"), {0.1f, 0.2f})),
                            golden("coding.extreme_decoded"), {.relative = 1e-6, .largest = 2e-6}));
}

// Threads share out regions forward and channels backward, so that no sum depends on how many they are.
TEST(RegionPooling, IsTheSameForAnyNumberOfThreads) {
  std::vector<RegionOfInterest> regions;
  std::uint64_t key = 3;
  for (int i = 0; i < 40; ++i) {  // most over one another
    const auto place = [&key](float range) { return unit_float(mix(++key)) * range; };
    const float x = place(200), y = place(200);
    regions.push_back({i % 2, {x, y, x + 20 + place(280), y + 20 + place(280)}});
  }
  std::vector<torch::Tensor> maps;
  for (int level = 0; level < 4; ++level) {
    maps.push_back(to_torch(formula_input("map" + std::to_string(level), {2, 70, 128 >> level, 128 >> level}, 3)));
  }
  const torch::Tensor gradient = to_torch(formula_input("gradient", {40, 70, 7, 7}, 4));
  const auto pooled_by = [&](int threads) {
    at::set_num_threads(threads);
    std::vector<torch::Tensor> results;
    for (torch::Tensor& map : maps) map = map.detach().requires_grad_();
    results.push_back(pool_regions(maps, regions, 7));
    results[0].backward(gradient);
    for (const torch::Tensor& map : maps) {
      if (map.grad().defined()) results.push_back(map.grad());
    }
    return results;
  };
  const int before = at::get_num_threads();
  const std::vector<torch::Tensor> alone = pooled_by(1);
  ASSERT_GE(alone.size(), 3u);
  for (const int threads : {2, 3, 8}) {
    const std::vector<torch::Tensor> shared = pooled_by(threads);
    ASSERT_EQ(shared.size(), alone.size());
    for (std::size_t i = 0; i < alone.size(); ++i)
      EXPECT_TRUE(torch::equal(shared[i], alone[i])) << threads << ", " << i;
  }
  at::set_num_threads(before);
}

// Each region from the map of its level, in the order of the regions, and the same gradient as by differences.
TEST(RegionPooling, TakesEachRegionFromItsLevel) {
  const std::vector<RegionOfInterest> regions = {{0, {10, 10, 250, 260}},
                                                 {1, {3, 4, 30, 28}},
                                                 {0, {0, 0, 500, 460}},
                                                 {1, {20, 30, 180, 130}},
                                                 {0, {5, 5, 25, 50}}};
  std::vector<torch::Tensor> maps;
  for (int level = 0; level < 4; ++level) {
    maps.push_back(to_torch(formula_input("map" + std::to_string(level), {2, 6, 128 >> level, 128 >> level}, 3)));
    maps.back().requires_grad_();
  }
  const torch::Tensor pooled = pool_regions(maps, regions, 5);
  ASSERT_EQ(pooled.sizes(), (std::vector<std::int64_t>{5, 6, 5, 5}));
  std::set<int> levels;
  for (std::size_t i = 0; i < regions.size(); ++i) {
    const int level = pyramid_level(regions[i].box);
    levels.insert(level);
    const torch::Tensor map = maps[static_cast<std::size_t>(level)].detach().permute({0, 2, 3, 1}).contiguous();
    const int side = 128 >> level;
    std::vector<float> expected(5 * 5 * 6);
    roi_align(map.const_data_ptr<float>(), {.pictures = 2, .height = side, .width = side, .channels = 6},
              std::span(regions).subspan(i, 1), {.bins = 5, .scale = 1.0f / static_cast<float>(4 << level)},
              expected.data());
    const torch::Tensor actual = pooled[static_cast<std::int64_t>(i)].permute({1, 2, 0}).contiguous();
    EXPECT_TRUE(tensors_close(from_torch(actual).values<float>(), expected, {.relative = 1e-7, .largest = 1e-7})) << i;
  }
  EXPECT_EQ(levels.size(), 4u);

  // Linear: <pool(maps), g> = sum of <map, gradient>.
  const torch::Tensor gradient = to_torch(formula_input("gradient", {5, 6, 5, 5}, 4));
  const torch::Tensor product = (pooled * gradient).sum();
  product.backward();
  double back = 0;
  for (const torch::Tensor& map : maps) back += (map.detach() * map.grad()).sum().item<double>();
  EXPECT_NEAR(back, product.item<double>(), 1e-4);
  EXPECT_EQ(pool_regions(maps, {}, 5).sizes(), (std::vector<std::int64_t>{0, 6, 5, 5}));
}

}  // namespace
}  // namespace convnext
