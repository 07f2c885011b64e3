// The training method against PyTorch's and timm's: optimisers, groups, schedules, losses, mixing, clipping, averages.
#include <ATen/Parallel.h>
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>

#include "convnext/error.h"
#include "io/file.h"
#include "model/formula.h"
#include "model/registry.h"
#include "tests/expect_error.h"
#include "tests/torch_tensors.h"
#include "train/adamw.h"
#include "train/gradient_clip.h"
#include "train/loss.h"
#include "train/mixup.h"
#include "train/moving_average.h"
#include "train/schedule.h"
#include "train/sgd.h"

namespace convnext {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using Json = nlohmann::json;

// ---- curves ---------------------------------------------------------------------------------------------------------

// float32 is 4e-7 from float64 in each number of each curve (accuracy.json).
constexpr double kTolerance = 5e-6;
// A method that is wrong on purpose must differ by this much, or the curve proves nothing.
constexpr double kTold = 10 * kTolerance;

// The number that is furthest from its expectation, relatively.
struct Worst {
  double relative = 0.0;
  std::string where;

  void see(const std::string& what, double actual, double expected) {
    double error = std::fabs(actual - expected) / std::fabs(expected);
    if (!std::isfinite(error)) error = std::numeric_limits<double>::infinity();
    if (error < relative) return;
    relative = error;
    where = fmt::format("{} is {:.9g}, expected {:.9g}", what, actual, expected);
  }
};

std::vector<double> golden_numbers(const SafetensorsFile& file, const std::string& name) {
  const Tensor tensor = golden_tensor(file, name);
  if (tensor.dtype() == DType::kF32) return {tensor.values<float>().begin(), tensor.values<float>().end()};
  return {tensor.values<double>().begin(), tensor.values<double>().end()};
}

// What the curves are made of; tools/goldens/training.py describes it.
constexpr int kPictures = 4;
constexpr int kClasses = 10;

torch::Tensor curve_input(std::uint64_t batch) {
  const Tensor values = formula_input(fmt::format("step{}", batch), {kPictures, 3, 32, 32}, 1);
  return (to_torch(values) * 8).contiguous(torch::MemoryFormat::ChannelsLast);
}

torch::Tensor curve_targets(std::uint64_t batch) {
  torch::Tensor targets = torch::empty({kPictures}, torch::kInt64);
  for (std::uint64_t i = 0; i < kPictures; ++i) {
    targets[static_cast<std::int64_t>(i)] =
        static_cast<std::int64_t>(mix(hash_name("targets") + kPictures * batch + i) % kClasses);
  }
  return targets;
}

MixDraw curve_draw(std::uint64_t batch) {
  const std::uint64_t key = mix(hash_name("mix") + batch);
  const double lambda = 0.1 + 0.8 * double{unit_float(mix(key + 1))};
  if (key % 3 == 0) return {};
  if (key % 3 == 1) return {.kind = MixKind::kMixup, .lambda = lambda};
  return cutmix_box(lambda, 32, 32, static_cast<int>(mix(key + 2) % 32), static_cast<int>(mix(key + 3) % 32));
}

void see_norms(Worst& worst, const torch::nn::Module& network, const SafetensorsFile& golden, const std::string& what) {
  const auto names = Json::parse(golden.metadata().at("names")).get<std::vector<std::string>>();
  const std::vector<double> expected = golden_numbers(golden, what);
  const auto parameters = network.named_parameters();
  for (std::size_t i = 0; i < names.size(); ++i) {
    const double norm = parameters[names[i]].detach().to(torch::kFloat64).norm().item<double>();
    worst.see(fmt::format("{} of {}", what, names[i]), norm, expected[i]);
  }
}

// The method of the 50 steps. Each field is made wrong by a test.
struct Method {
  GroupOptions groups{.weight_decay = 0.5, .layer_decay = 0.7};
  AdamWOptions adamw;
  double last_weight_decay = 0.1;
  double smoothing = 0.1;
  bool mixing = true;
  double drop_path = 0.2;
  double max_norm = 0.002;
  double part_of_a_batch = 0.5;
  double ema_decay = 0.9;
  std::size_t lr_delay = 0;
};

Method right_method(const std::string& network) {
  Method method;
  method.groups.grouping = network == "v1" ? LayerGrouping::kGrouped : LayerGrouping::kSingle;
  return method;
}

// The branch in which AdamW's epsilon shows.
void make_a_branch_small(Network& network, const NetworkConfig& config) {
  torch::NoGradGuard no_grad;
  const int stage = std::get<ConvNextConfig>(config).stages() > 1 ? 2 : 0;
  network.named_parameters()[fmt::format("stages.{}.blocks.1.mlp.fc2.weight", stage)].mul_(1e-4);
}

// How far our curve is from the golden's; no longer computed than until it is `enough`.
Worst run_curve(const Golden& golden, const Method& method, double enough = 1.0) {
  at::set_num_threads(1);
  const auto network = make_network(golden.config, {.drop_path = method.drop_path});
  load_weights(*network, formula_weights(golden.config, golden.seed));
  make_a_branch_small(*network, golden.config);
  AdamW optimizer(parameter_groups(*network, golden.config, method.groups), method.adamw);
  const auto average_network = make_network(golden.config);
  MovingAverage average(*network, *average_network, {.decay = method.ema_decay});

  const std::vector<double> losses = golden_numbers(golden.file, "losses");
  const std::vector<double> gradient_norms = golden_numbers(golden.file, "gradient_norms");
  const auto steps = static_cast<std::int64_t>(losses.size());
  const auto lr = cosine_schedule(1e-3, 1e-6, steps, Warmup{.steps = 5});
  const auto weight_decay = cosine_schedule(method.groups.weight_decay, method.last_weight_decay, steps, Warmup{});
  Worst worst;
  for (std::size_t step = 0; step < losses.size() && worst.relative < enough; ++step) {
    double loss_of_step = 0.0;
    optimizer.zero_grad();
    for (std::uint64_t batch = 2 * step; batch < 2 * step + 2; ++batch) {
      const MixDraw draw = method.mixing ? curve_draw(batch) : MixDraw{};
      torch::Tensor pictures = curve_input(batch);
      mix_pictures(pictures, draw);
      const torch::Tensor targets = mixed_targets(curve_targets(batch), kClasses, method.smoothing, draw.lambda);
      const torch::Tensor loss =
          soft_cross_entropy(network->forward(pictures, mix(7 + batch)).logits, targets) * method.part_of_a_batch;
      loss.backward();
      loss_of_step += loss.item<double>();
    }
    const double norm = clip_gradients(*network, method.max_norm);
    optimizer.step(lr[step - std::min(step, method.lr_delay)], weight_decay[step]);
    average.update();
    worst.see(fmt::format("the loss of step {}", step), loss_of_step, losses[step]);
    worst.see(fmt::format("the gradients' norm in step {}", step), norm, gradient_norms[step]);
  }
  if (worst.relative < enough) {
    see_norms(worst, *network, golden.file, "norms");
    see_norms(worst, average.network(), golden.file, "ema_norms");
  }
  return worst;
}

class Curve : public ::testing::TestWithParam<std::string> {
 protected:
  Golden golden_ = open_golden("training/curve_" + GetParam() + ".safetensors");
};

TEST_P(Curve, OfFiftyStepsIsPyTorchs) {
  const Worst worst = run_curve(golden_, right_method(GetParam()));
  EXPECT_LE(worst.relative, kTolerance) << worst.where;
}

TEST_P(Curve, IsNotThatOfAWrongMethod) {
  const std::vector<std::pair<std::string, std::function<void(Method&)>>> mistakes = {
      {"no layer decay", [](Method& m) { m.groups.layer_decay = 1.0; }},
      {"another grouping of the layers", [](Method& m) { m.groups.grouping = LayerGrouping::kTiny; }},
      {"weight decay of biases and norms", [](Method& m) { m.groups.decay_everything = true; }},
      {"no weight decay", [](Method& m) { m.groups.weight_decay = m.last_weight_decay = 0.0; }},
      {"constant weight decay", [](Method& m) { m.last_weight_decay = 0.5; }},
      {"beta1 0.8", [](Method& m) { m.adamw.beta1 = 0.8; }},
      {"beta2 0.99", [](Method& m) { m.adamw.beta2 = 0.99; }},
      {"epsilon 1e-6", [](Method& m) { m.adamw.epsilon = 1e-6; }},
      {"no label smoothing", [](Method& m) { m.smoothing = 0.0; }},
      {"no mixing", [](Method& m) { m.mixing = false; }},
      {"no drop path", [](Method& m) { m.drop_path = 0.0; }},
      {"no clipping", [](Method& m) { m.max_norm = 0.0; }},
      {"clipping to twice the norm", [](Method& m) { m.max_norm *= 2; }},
      {"the sum of the batches, not their mean", [](Method& m) { m.part_of_a_batch = 1.0; }},
      {"another decay of the average", [](Method& m) { m.ema_decay = 0.91; }},
      {"a learning rate that comes a step late", [](Method& m) { m.lr_delay = 1; }},
  };
  for (const auto& [name, make] : mistakes) {
    Method method = right_method(GetParam());
    make(method);
    EXPECT_GT(run_curve(golden_, method, kTold).relative, kTold) << name;
  }
}

TEST_P(Curve, HasTheGoldensTables) {
  const auto lr = cosine_schedule(1e-3, 1e-6, 50, Warmup{.steps = 5});
  EXPECT_THAT(lr, ::testing::Pointwise(::testing::DoubleNear(1e-18), golden_numbers(golden_.file, "lr")));
  const auto weight_decay = cosine_schedule(0.5, 0.1, 50, Warmup{});
  EXPECT_THAT(weight_decay,
              ::testing::Pointwise(::testing::DoubleNear(1e-15), golden_numbers(golden_.file, "weight_decay")));
}

INSTANTIATE_TEST_SUITE_P(Kinds, Curve, ::testing::Values("v1", "v2", "isotropic"),
                         [](const auto& info) { return info.param; });

struct SgdMethod {
  GroupOptions groups{.weight_decay = 1e-4, .decay_everything = true};
  SgdOptions sgd;
  std::int64_t period = 10;
};

Worst run_sgd(const Golden& golden, const SgdMethod& method) {
  at::set_num_threads(1);
  const auto network = make_network(golden.config);
  load_weights(*network, formula_weights(golden.config, golden.seed));
  Sgd optimizer(parameter_groups(*network, golden.config, method.groups), method.sgd);
  const std::vector<double> losses = golden_numbers(golden.file, "losses");
  const auto lr = step_schedule(0.02, 0.1, method.period, static_cast<std::int64_t>(losses.size()));
  Worst worst;
  for (std::size_t step = 0; step < losses.size(); ++step) {
    const torch::Tensor loss =
        smoothed_cross_entropy(network->forward(curve_input(step)).logits, curve_targets(step), 0.1);
    optimizer.zero_grad();
    loss.backward();
    optimizer.step(lr[step]);
    worst.see(fmt::format("the loss of step {}", step), loss.item<double>(), losses[step]);
  }
  see_norms(worst, *network, golden.file, "norms");
  return worst;
}

TEST(SgdCurve, OfTwentyStepsIsPyTorchsAndThatOfAWrongMethodIsNot) {
  const Golden golden = open_golden("training/sgd_v1.safetensors");
  const Worst worst = run_sgd(golden, {});
  EXPECT_LE(worst.relative, kTolerance) << worst.where;

  const std::vector<std::pair<std::string, std::function<void(SgdMethod&)>>> mistakes = {
      {"momentum 0.89", [](SgdMethod& m) { m.sgd.momentum = 0.89; }},
      {"no weight decay", [](SgdMethod& m) { m.groups.weight_decay = 0.0; }},
      {"twice the weight decay", [](SgdMethod& m) { m.groups.weight_decay = 2e-4; }},
      {"weight decay of weights only", [](SgdMethod& m) { m.groups.decay_everything = false; }},
      {"a learning rate that falls a step late", [](SgdMethod& m) { m.period = 11; }},
  };
  for (const auto& [name, make] : mistakes) {
    SgdMethod method;
    make(method);
    EXPECT_GT(run_sgd(golden, method).relative, kTold) << name;
  }
}

// ---- optimisers -----------------------------------------------------------------------------------------------------

// Two vectors, of which only the first is decayed, and buffers as batch normalisation has them.
class TwoVectors : public Network {
 public:
  TwoVectors() {
    first = register_parameter("first", torch::tensor({1.0f, -2.0f}));
    second = register_parameter("second", torch::tensor({3.0f}));
    mean = register_buffer("mean", torch::tensor({4.0f}));
    batches = register_buffer("batches", torch::tensor({std::int64_t{5}}));
  }
  NetworkOutputs forward(const torch::Tensor&, std::optional<std::uint64_t>) override { return {}; }
  void set_gradients(float scale) {
    first.mutable_grad() = scale * torch::tensor({0.5f, -0.25f});
    second.mutable_grad() = scale * torch::tensor({2.0f});
  }
  std::vector<ParameterGroup> groups() const {
    return {{.name = "decay", .weight_decay = 0.1, .names = {"first"}, .parameters = {first}},
            {.name = "no_decay", .lr_scale = 0.5, .names = {"second"}, .parameters = {second}}};
  }

  torch::Tensor first, second, mean, batches;
};

template <typename Kind>
void expect_the_same_after_a_restore() {
  TwoVectors whole, cut;
  Kind optimizer(whole.groups()), before(cut.groups());
  for (int step = 0; step < 3; ++step) {
    whole.set_gradients(1.0f + static_cast<float>(step));
    cut.set_gradients(1.0f + static_cast<float>(step));
    optimizer.step(0.1, 0.2);
    before.step(0.1, 0.2);
  }
  Kind after(cut.groups());
  for (auto& [name, tensor] : after.state()) torch::Tensor(tensor).copy_(before.state().at(name));
  after.restore(before.steps());
  EXPECT_EQ(after.steps(), 3);
  whole.set_gradients(-1.0f);
  cut.set_gradients(-1.0f);
  optimizer.step(0.1);
  after.step(0.1);
  EXPECT_TRUE(torch::equal(whole.first, cut.first));
  EXPECT_TRUE(torch::equal(whole.second, cut.second));
}

TEST(Optimizers, GoOnFromTheirStateAsIfNothingHadBeen) {
  expect_the_same_after_a_restore<AdamW>();
  expect_the_same_after_a_restore<Sgd>();
}

TEST(Optimizers, TakeTheWeightDecayOfTheStepOnlyWhereThereIsAny) {
  TwoVectors network;
  Sgd optimizer(network.groups(), {.momentum = 0.0});
  network.set_gradients(0.0f);
  optimizer.step(1.0, 0.25);
  EXPECT_TRUE(torch::equal(network.first, torch::tensor({0.75f, -1.5f})));
  EXPECT_TRUE(torch::equal(network.second, torch::tensor({3.0f})));
  optimizer.step(1.0);  // its own 0.1
  EXPECT_TRUE(torch::allclose(network.first, torch::tensor({0.675f, -1.35f})));
}

TEST(Optimizers, ScaleTheLearningRateOfEachGroup) {
  TwoVectors network;
  Sgd optimizer(network.groups(), {.momentum = 0.0});
  network.set_gradients(1.0f);
  optimizer.step(0.25, 0.0);
  EXPECT_TRUE(torch::equal(network.first, torch::tensor({0.875f, -1.9375f})));
  EXPECT_TRUE(torch::equal(network.second, torch::tensor({2.75f})));
}

TEST(Optimizers, LeaveAParameterWithoutAGradientAsItIs) {
  TwoVectors network;
  AdamW optimizer(network.groups());
  network.set_gradients(1.0f);
  network.first.mutable_grad() = torch::Tensor();
  optimizer.step(0.1);
  EXPECT_TRUE(torch::equal(network.first, torch::tensor({1.0f, -2.0f})));
  EXPECT_NE(network.second.item<float>(), 3.0f);
}

// ---- groups ---------------------------------------------------------------------------------------------------------

TEST(ParameterGroups, DecayOnlyWeightsOfConvolutionsAndLinears) {
  const NetworkConfig config = architecture("convnextv2_atto").network;
  const auto network = make_network(config);
  const auto groups = parameter_groups(*network, config, {.weight_decay = 0.05});
  ASSERT_EQ(groups.size(), 2u);
  EXPECT_EQ(groups[0].names.size() + groups[1].names.size(), network->parameters().size());
  EXPECT_EQ(groups[0].weight_decay, 0.05);
  EXPECT_EQ(groups[1].weight_decay, 0.0);
  for (const torch::Tensor& parameter : groups[0].parameters) EXPECT_GT(parameter.dim(), 1);
  for (const torch::Tensor& parameter : groups[1].parameters) EXPECT_EQ(parameter.dim(), 1);
  EXPECT_THAT(groups[1].names, ::testing::Contains("stages.0.blocks.0.mlp.grn.weight"));
  EXPECT_THAT(groups[0].names, ::testing::Contains("head.fc.weight"));

  const auto all = parameter_groups(*network, config, {.weight_decay = 1e-4, .decay_everything = true});
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].names.size(), network->parameters().size());
}

// The network with widths that cost nothing: layers and groups depend on depths and kinds alone.
NetworkConfig narrow(const NetworkConfig& config) {
  constexpr int kDims[] = {8, 16, 24, 32};
  const auto stages = static_cast<std::size_t>(std::get<ConvNextConfig>(config).stages());
  NetworkConfig copy = with_overrides(config, {.dims = std::vector<int>(kDims, kDims + stages)});
  if (class_count(copy) > 0) set_class_count(copy, 2);
  return copy;
}

// "stages.0.blocks.1.conv_dw.weight 2 1.677721600e-01 decay" of each parameter.
std::vector<std::string> decay_lines(const Network& network, const NetworkConfig& config, LayerGrouping grouping,
                                     double decay) {
  const LayerMap layers(config, grouping);
  std::vector<std::string> lines;
  for (const ParameterGroup& group : parameter_groups(network, config, {.layer_decay = decay, .grouping = grouping})) {
    for (const std::string& name : group.names) {
      const std::string kind = group.weight_decay > 0 ? "decay" : "no_decay";
      lines.push_back(fmt::format("{} {} {:.9e} {}", name, layers.of(name), group.lr_scale, kind));
      EXPECT_EQ(group.name, fmt::format("layer_{}_{}", layers.of(name), kind));
    }
  }
  return lines;
}

std::string digest(const std::vector<std::string>& lines) {
  std::uint64_t sum = 0;
  for (const std::string& line : lines) sum += mix(hash_name(line));
  return fmt::format("{:016x}", sum);
}

TEST(LayerDecay, OfEveryConvNextIsThatOfTheAuthorsRules) {
  const Json golden = Json::parse(read_text(golden_path("training/layer_decay.json")));
  const double decay = golden["decay"].get<double>();
  int written_out = 0;
  for (const RegistryEntry& entry : registry()) {
    if (!std::holds_alternative<ConvNextConfig>(entry.network)) continue;
    const NetworkConfig config = narrow(entry.network);
    const auto network = make_network(config);
    for (const char* name : {"single", "grouped", "tiny"}) {
      SCOPED_TRACE(entry.name + " " + name);
      const Json& expected = golden["networks"].at(entry.name).at(name);
      const LayerGrouping grouping = layer_grouping_from_name(name);
      EXPECT_EQ(LayerMap(config, grouping).head(), expected["head"].get<int>());
      const std::vector<std::string> lines = decay_lines(*network, config, grouping, decay);
      EXPECT_EQ(lines.size(), network->parameters().size());
      EXPECT_EQ(digest(lines), expected["digest"].get<std::string>());
      EXPECT_NE(digest(decay_lines(*network, config, grouping, 0.81)), expected["digest"].get<std::string>());
      const auto shown = golden["written_out"].find(entry.name + " " + name);
      if (shown == golden["written_out"].end()) continue;
      ++written_out;
      EXPECT_THAT(lines, ::testing::IsSupersetOf(shown->get<std::vector<std::string>>()));
    }
  }
  EXPECT_EQ(written_out, 5);
}

TEST(LayerDecay, TellsTheGroupingsApart) {
  const NetworkConfig config = architecture("convnext_small").network;
  const LayerMap single(config, LayerGrouping::kSingle), grouped(config, LayerGrouping::kGrouped);
  EXPECT_EQ(single.of("stem.0.weight"), 1);
  EXPECT_EQ(single.of("stages.2.blocks.26.gamma"), 33);
  EXPECT_EQ(single.of("stages.3.downsample.1.bias"), 34);
  EXPECT_EQ(single.head(), 37);
  EXPECT_EQ(grouped.of("stem.0.weight"), 0);
  EXPECT_EQ(grouped.of("stages.1.downsample.0.weight"), 2);
  EXPECT_EQ(grouped.of("stages.2.blocks.26.gamma"), 11);
  EXPECT_EQ(grouped.of("stages.3.downsample.1.bias"), 12);
  EXPECT_EQ(grouped.of("head.norm.weight"), 13);
  expect_error(ErrorCode::kInvalidArgument, {"'group'", "single, grouped or tiny"},
               [] { layer_grouping_from_name("group"); });
}

TEST(FreezeStages, TakesTheStemAndTheFirstStagesOutOfTraining) {
  const Golden golden = open_golden("training/curve_v1.safetensors");
  for (const int stages : {0, 1, 3, 4, 5}) {
    SCOPED_TRACE(stages);
    const auto network = make_network(golden.config);
    load_weights(*network, formula_weights(golden.config, golden.seed));
    const WeightStore before = copy_weights(*network);
    freeze_stages(*network, golden.config, stages);
    AdamW optimizer(parameter_groups(*network, golden.config, {.layer_decay = 0.9}));
    const auto average_network = make_network(golden.config);
    MovingAverage average(*network, *average_network, {.decay = 0.9999});
    for (std::uint64_t step = 0; step < 3; ++step) {
      optimizer.zero_grad();
      smoothed_cross_entropy(network->forward(curve_input(step), step).logits, curve_targets(step), 0.1).backward();
      clip_gradients(*network, 1.0);
      optimizer.step(1e-3);
      average.update();
    }
    std::set<std::string> trained;
    for (const ParameterGroup& group : optimizer.groups()) trained.insert(group.names.begin(), group.names.end());
    EXPECT_EQ(optimizer.state().size(), 2 * trained.size());
    const WeightStore after = copy_weights(*network), averaged = copy_weights(*average_network);
    for (const auto& parameter : network->named_parameters()) {
      const std::string& name = parameter.key();
      const bool frozen = stages == 5 ? !name.starts_with("head.fc.")
                          : stages == 0
                              ? false
                              : name.starts_with("stem.") || (name.starts_with("stages.") && name[7] - '0' < stages);
      EXPECT_EQ(trained.contains(name), !frozen) << name;
      EXPECT_EQ(after.floats(name) == before.floats(name), frozen) << name;
      EXPECT_EQ(averaged.floats(name) == before.floats(name), frozen) << name;
    }
  }
}

TEST(FreezeStages, RefusesMoreStagesThanThereAre) {
  const NetworkConfig config = narrow(architecture("convnext_atto").network);
  const auto network = make_network(config);
  expect_error(ErrorCode::kInvalidArgument, {"6 stages", "has 4"}, [&] { freeze_stages(*network, config, 6); });
  expect_error(ErrorCode::kInvalidArgument, {"-1"}, [&] { freeze_stages(*network, config, -1); });
  const NetworkConfig headless = narrow(architecture("dinov3_convnext_tiny").network);
  const auto features = make_network(headless);
  expect_error(ErrorCode::kInvalidArgument, {"5 stages"}, [&] { freeze_stages(*features, headless, 5); });
}

// ---- schedules ------------------------------------------------------------------------------------------------------

TEST(Schedules, OfCosinesAreTheAuthorsTables) {
  const SafetensorsFile golden = SafetensorsFile::open(golden_path("training/schedules.safetensors"));
  const Json cases = Json::parse(golden.metadata().at("cases"));
  for (const auto& [name, arguments] : cases.items()) {
    SCOPED_TRACE(name);
    const auto in_epoch = arguments["steps_an_epoch"].get<std::int64_t>();
    const double base = arguments["base"].get<double>();
    const Warmup warmup{.steps = arguments.value("warmup_steps", arguments.value("warmup_epochs", 0) * in_epoch),
                        .start = arguments.value("start", 0.0)};
    const auto values = cosine_schedule(base, arguments["final"].get<double>(),
                                        arguments["epochs"].get<std::int64_t>() * in_epoch, warmup);
    const std::vector<double> expected = golden_numbers(golden, name);
    ASSERT_EQ(values.size(), expected.size());
    // The last digit of a cosine is the C library's.
    for (std::size_t i = 0; i < values.size(); ++i) EXPECT_NEAR(values[i], expected[i], 2e-16 * base) << "step " << i;
    for (std::int64_t i = 0; i < warmup.steps; ++i) {
      EXPECT_EQ(values[static_cast<std::size_t>(i)], expected[static_cast<std::size_t>(i)]) << "step " << i;
    }
  }
  EXPECT_EQ(steps_per_epoch(1050, 32, 4), 8);  // "accumulation" of the golden
}

TEST(Schedules, ReachTheBaseAtTheEndOfTheWarmUpAndStayAboveTheFinalValue) {
  const auto values = cosine_schedule(4e-3, 1e-6, 100, Warmup{.steps = 20});
  ASSERT_EQ(values.size(), 100u);
  EXPECT_EQ(values[0], 0.0);
  EXPECT_EQ(values[19], 4e-3);
  EXPECT_EQ(values[20], 4e-3);
  EXPECT_GT(values[99], 1e-6);
  EXPECT_LT(values[99], 4e-6);
}

TEST(Schedules, OfStepsFallAtTheEpochsOfTheTableNotOfTheWarmUp) {
  EXPECT_THAT(step_schedule(2.0, 0.1, 30, 4, {.steps = 3, .start = 1.0}), ElementsAre(1.0, 1.5, 2.0, 2.0));
  EXPECT_THAT(step_schedule(8.0, 0.5, 2, 7), ElementsAre(8.0, 8.0, 4.0, 4.0, 2.0, 2.0, 1.0));
  EXPECT_THAT(step_schedule(8.0, 0.5, 2, 6, {.steps = 3}), ElementsAre(0.0, 4.0, 8.0, 4.0, 2.0, 2.0));
  EXPECT_THAT(step_schedule(2.0, 0.1, 30, 0), ElementsAre());
}

// ---- losses and mixing ----------------------------------------------------------------------------------------------

TEST(Losses, OfSmoothedTargetsAreThoseOfSmoothing) {
  const torch::Tensor logits = to_torch(formula_input("logits", {4, kClasses}, 1)) * 20;
  const torch::Tensor targets = curve_targets(0);
  const double smoothed = smoothed_cross_entropy(logits, targets, 0.1).item<double>();
  EXPECT_NEAR(soft_cross_entropy(logits, mixed_targets(targets, kClasses, 0.1, 1.0)).item<double>(), smoothed, 1e-6);
  EXPECT_GT(std::fabs(smoothed_cross_entropy(logits, targets, 0.0).item<double>() - smoothed), 1e-3);
}

TEST(Losses, OfTwoClassesAreWhatPaperAndPencilSay) {
  const torch::Tensor logits = torch::tensor({{0.0f, std::log(3.0f)}});  // p = 1/4, 3/4
  const torch::Tensor targets = torch::tensor({{0.5f, 0.5f}});
  EXPECT_NEAR(soft_cross_entropy(logits, targets).item<double>(), 0.5 * std::log(4.0) + 0.5 * std::log(4.0 / 3), 1e-7);
}

MixDraw draw_of(const Json& json, int height, int width) {
  const std::string kind = json["kind"];
  const double lambda = json["lambda"];
  if (kind == "none") return {};
  if (kind == "mixup") return {.kind = MixKind::kMixup, .lambda = lambda};
  return cutmix_box(lambda, height, width, json["center_y"].get<int>(), json["center_x"].get<int>());
}

TEST(Mixing, OfGivenDrawsIsTimms) {
  const SafetensorsFile golden = SafetensorsFile::open(golden_path("training/mix.safetensors"));
  const torch::Tensor source = to_torch(formula_input("pictures", {4, 3, 9, 6}, 1));
  const torch::Tensor classes = torch::tensor({3, 1, 4, 1}, torch::kInt64);
  const Json draws = Json::parse(golden.metadata().at("draws"));
  ASSERT_EQ(draws.size(), 7u);
  for (std::size_t n = 0; n < draws.size(); ++n) {
    SCOPED_TRACE(draws[n].dump());
    const MixDraw draw = draw_of(draws[n], 9, 6);
    EXPECT_DOUBLE_EQ(draw.lambda, golden_numbers(golden, fmt::format("{}.lambda", n))[0]);
    if (draw.kind == MixKind::kCutmix) {
      const Tensor box = golden_tensor(golden, fmt::format("{}.box", n));
      EXPECT_THAT(box.values<std::int64_t>(), ElementsAre(draw.top, draw.bottom, draw.left, draw.right));
    }
    for (const auto format : {torch::MemoryFormat::Contiguous, torch::MemoryFormat::ChannelsLast}) {
      const torch::Tensor pictures = source.clone(format);
      mix_pictures(pictures, draw);
      EXPECT_TRUE(pictures.is_contiguous(format));
      const torch::Tensor expected = to_torch(golden_tensor(golden, fmt::format("{}.pictures", n)));
      EXPECT_TRUE(torch::equal(pictures, expected));
      EXPECT_EQ(torch::equal(pictures, source), n == 0 || n == 6) << "a mixed batch is another one";
    }
    const torch::Tensor targets = mixed_targets(classes, 5, 0.1, draw.lambda);
    EXPECT_TRUE(torch::equal(targets, to_torch(golden_tensor(golden, fmt::format("{}.targets", n)))));
    EXPECT_NEAR(targets.sum().item<double>(), 4.0, 1e-6);
  }
}

TEST(Mixing, IsDrawnAsOftenAsItIsAskedFor) {
  constexpr int kDraws = 4000;
  const auto count = [](const MixOptions& options) {
    std::map<MixKind, int> kinds;
    for (std::uint64_t i = 0; i < kDraws; ++i) {
      KeyedRandom random({9, i});
      const MixDraw draw = draw_mix(options, 32, 24, random);
      ++kinds[draw.kind];
      EXPECT_TRUE(draw.lambda >= 0.0 && draw.lambda <= 1.0);
      EXPECT_TRUE(0 <= draw.top && draw.top <= draw.bottom && draw.bottom <= 32);
      EXPECT_TRUE(0 <= draw.left && draw.left <= draw.right && draw.right <= 24);
      if (draw.kind == MixKind::kCutmix) {
        EXPECT_DOUBLE_EQ(draw.lambda, 1.0 - (draw.bottom - draw.top) * (draw.right - draw.left) / (32.0 * 24.0));
      }
    }
    return kinds;
  };
  const double deviations = 5 * std::sqrt(kDraws / 4.0);
  auto kinds = count({});
  EXPECT_EQ(kinds[MixKind::kNone], 0);
  EXPECT_NEAR(kinds[MixKind::kCutmix], kDraws / 2, deviations);
  kinds = count({.probability = 0.6, .switch_probability = 0.25});
  EXPECT_NEAR(kinds[MixKind::kNone], kDraws * 0.4, deviations);
  EXPECT_NEAR(kinds[MixKind::kCutmix], kDraws * 0.6 * 0.25, deviations);
  EXPECT_EQ(count({.cutmix_alpha = 0})[MixKind::kMixup], kDraws);
  EXPECT_EQ(count({.mixup_alpha = 0})[MixKind::kCutmix], kDraws);
  EXPECT_EQ(count({.mixup_alpha = 0, .cutmix_alpha = 0})[MixKind::kNone], kDraws);
  EXPECT_EQ(count({.probability = 0})[MixKind::kNone], kDraws);
}

TEST(Mixing, TakesTheAlphaOfItsKind) {
  // Beta(a, a) has variance 1 / (4 (2 a + 1)).
  double squares = 0;
  constexpr int kDraws = 4000;
  for (std::uint64_t i = 0; i < kDraws; ++i) {
    KeyedRandom random({11, i});
    const double lambda = draw_mix({.mixup_alpha = 0.2, .cutmix_alpha = 0}, 8, 8, random).lambda;
    squares += (lambda - 0.5) * (lambda - 0.5) / kDraws;
  }
  EXPECT_NEAR(squares, 1 / (4 * 1.4), 0.006);  // of 0.8 it would be 0.096
}

TEST(Mixing, RefusesABatchWithoutPairs) {
  expect_error(ErrorCode::kInvalidArgument, {"3", "odd"}, [] {
    mix_pictures(torch::zeros({3, 3, 4, 4}), {.kind = MixKind::kMixup, .lambda = 0.5});
  });
}

// ---- clipping and averages ------------------------------------------------------------------------------------------

TEST(GradientClip, ScalesAllGradientsTogetherDownToTheNorm) {
  TwoVectors network;
  network.set_gradients(1.0f);  // (0.5, -0.25), (2)
  const double norm = std::sqrt(0.25 + 0.0625 + 4.0);
  EXPECT_NEAR(clip_gradients(network, 0.0), norm, 1e-6);
  EXPECT_NEAR(clip_gradients(network, 10.0), norm, 1e-6);
  EXPECT_EQ(network.second.grad().item<float>(), 2.0f) << "nothing is scaled up, or where there is no bound";
  EXPECT_NEAR(clip_gradients(network, 1.0), norm, 1e-6);
  EXPECT_NEAR(network.second.grad().item<double>(), 2.0 / (norm + 1e-6), 1e-7);
  EXPECT_NEAR(network.first.grad()[1].item<double>(), -0.25 / (norm + 1e-6), 1e-7);

  network.set_gradients(1e-6f);
  clip_gradients(network, 1e-6);
  EXPECT_NEAR(network.second.grad().item<double>(), 2e-6 * 1e-6 / (norm * 1e-6 + 1e-6), 1e-12) << "PyTorch's 1e-6";
}

TEST(GradientClip, NamesTheGradientThatIsNotFinite) {
  TwoVectors network;
  EXPECT_EQ(clip_gradients(network, 1.0), 0.0) << "there are none";
  network.set_gradients(1.0f);
  EXPECT_FALSE(find_gradient_that_is_not_finite(network));
  network.second.mutable_grad()[0] = std::numeric_limits<float>::infinity();
  EXPECT_FALSE(std::isfinite(clip_gradients(network, 0.0)));
  EXPECT_EQ(find_gradient_that_is_not_finite(network), "second");
  network.first.mutable_grad()[1] = std::numeric_limits<float>::quiet_NaN();
  EXPECT_FALSE(std::isfinite(clip_gradients(network, 1.0)));
  EXPECT_EQ(find_gradient_that_is_not_finite(network), "first");
}

TEST(MovingAverage, HoldsParametersAndBuffers) {
  TwoVectors network;
  const auto average_network = std::make_shared<TwoVectors>();
  MovingAverage average(network, *average_network, {.decay = 0.75});
  {
    torch::NoGradGuard no_grad;
    network.first.fill_(9.0f);
    network.mean.fill_(8.0f);
    network.batches.fill_(6);
  }
  average.update();
  EXPECT_TRUE(torch::allclose(average_network->first, torch::tensor({3.0f, 0.75f})));
  EXPECT_TRUE(torch::equal(average_network->second, torch::tensor({3.0f})));
  EXPECT_FLOAT_EQ(average_network->mean.item<float>(), 5.0f);
  EXPECT_EQ(average_network->batches.item<std::int64_t>(), 6) << "a count is copied";
  EXPECT_EQ(average.updates(), 1);
  EXPECT_EQ(average.decay(1), 0.75) << "no warm-up unless it is asked for";
}

TEST(MovingAverage, WarmsUpAsTimms) {
  const SafetensorsFile golden = SafetensorsFile::open(golden_path("training/schedules.safetensors"));
  const std::vector<double> expected = golden_numbers(golden, "average_warmup");
  TwoVectors network;
  TwoVectors average_network;
  MovingAverage average(network, average_network, {.decay = 0.9, .warmup = true});
  for (std::size_t i = 0; i < expected.size(); ++i) {
    EXPECT_NEAR(average.decay(static_cast<std::int64_t>(i) + 1), expected[i], 1e-15) << "update " << i + 1;
  }
  EXPECT_LT(expected[30], 0.9) << "the golden shows the warm-up";
  EXPECT_EQ(expected[39], 0.9) << "and its end";
}

// A resumed run warms up where it was.
TEST(MovingAverage, CountsItsUpdatesThroughARestore) {
  TwoVectors network;
  const auto first = std::make_shared<TwoVectors>(), second = std::make_shared<TwoVectors>();
  MovingAverage whole(network, *first, {.decay = 0.99, .warmup = true});
  MovingAverage resumed(network, *second, {.decay = 0.99, .warmup = true});
  whole.update();
  whole.update();
  resumed.restore(2);
  torch::NoGradGuard no_grad;
  network.first.fill_(7.0f);
  whole.update();
  resumed.update();
  EXPECT_EQ(resumed.updates(), 3);
  EXPECT_TRUE(torch::equal(first->first, second->first));
}

}  // namespace
}  // namespace convnext
