// Models with weights of 8 bits: the file, and `convnext quantize` from outside.
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <string>
#include <utility>
#include <vector>

#include "convnext/model.h"
#include "core/int8.h"
#include "io/safetensors.h"
#include "model/checkpoint.h"
#include "model/formula.h"
#include "model/inspection.h"
#include "model/int8_weights.h"
#include "tests/child_process.h"
#include "tests/engine_runs.h"
#include "tests/expect_error.h"
#include "tests/pictures.h"
#include "tests/temporary_folder.h"
#include "tests/tensor_compare.h"
#include "tests/tiny_model.h"

namespace convnext {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;

TEST(QuantizeWeights, RoundsToTheNearestOf64StepsEachWay) {
  const std::vector<float> weights = {-2.0f, 1.0f, 0.015f, 0.016f, 0.0f, 1.984375f};
  std::vector<std::int8_t> values(weights.size());
  EXPECT_EQ(quantize_weights(weights, values), 2.0f / 64);
  EXPECT_THAT(values, ElementsAre(-64, 32, 0, 1, 0, 64));
}

TEST(QuantizeWeights, TakesZerosAndTellsWhatIsNotFinite) {
  std::vector<std::int8_t> values(2, 9);
  EXPECT_EQ(quantize_weights(std::vector<float>{0.0f, -0.0f}, values), 0.0f);
  EXPECT_THAT(values, ElementsAre(0, 0));
  for (const float odd : {std::numeric_limits<float>::infinity(), std::numeric_limits<float>::quiet_NaN()}) {
    EXPECT_TRUE(std::isnan(quantize_weights(std::vector<float>{1.0f, odd}, values)));
  }
}

class Int8File : public testing::Test {
 protected:
  TemporaryFolder folder_;
  fs::path model_ = write_tiny_model(folder_ / "tiny.safetensors");
  Checkpoint before_ = read_checkpoint(model_);

  fs::path write_int8(const std::string& name) {
    Card card = before_.card;
    card.precision = kInt8Precision;
    write_checkpoint(folder_ / name, card, rounded_to_int8(before_.weights));
    return folder_ / name;
  }
};

TEST_F(Int8File, HoldsIntegersAndTheirScales) {
  const Inspection inspection = inspect(write_int8("int8.safetensors"));
  EXPECT_TRUE(inspection.is_whole());
  std::map<std::string, DType> types;
  for (const InspectedTensor& tensor : inspection.tensors) types[tensor.key] = tensor.dtype;
  EXPECT_EQ(types["stages.0.blocks.0.mlp.fc1.weight"], DType::kI8);
  EXPECT_EQ(types["stages.0.blocks.0.mlp.fc1.weight_scale"], DType::kF32);
  EXPECT_EQ(types["stages.1.downsample.1.weight"], DType::kI8);
  EXPECT_EQ(types["stages.0.blocks.0.conv_dw.weight"], DType::kF32);
  EXPECT_EQ(types["head.fc.weight"], DType::kBF16);
}

// To the bit: the integers that the engine makes of the float weights are those of the file.
TEST_F(Int8File, RunsAsTheModelItWasMadeFromDoesInInt8) {
  const Checkpoint after = read_checkpoint(write_int8("int8.safetensors"));
  EXPECT_EQ(after.card.precision, "int8");
  const Tensor input = formula_input("input", {1, 3, 48, 40}, 1);
  for (const std::string& isa : fast_isas()) {
    SCOPED_TRACE(isa);
    const auto backend = make_cpu_backend(isa);
    const NetworkConfig& network = before_.card.network;
    const Results from_floats = run(*backend->compile(network, before_.weights, Precision::kInt8), network, input);
    const Results from_file = run(*backend->compile(network, after.weights, Precision::kInt8), network, input);
    EXPECT_TRUE(tensors_close(from_file.logits, from_floats.logits, {.relative = 0, .largest = 0}));
    const Results in_fp32 = run(*backend->compile(network, after.weights, Precision::kFp32), network, input);
    EXPECT_FALSE(tensors_close(from_file.logits, in_fp32.logits));
    EXPECT_TRUE(tensors_close(from_file.logits, in_fp32.logits, {.relative = 0.05, .largest = 0.05}));
  }
}

TEST_F(Int8File, IsRunInInt8UnlessToldOtherwise) {
  const fs::path file = write_int8("int8.safetensors");
  if (fast_isas().empty()) GTEST_SKIP() << "no instruction set but the reference's";
  EXPECT_EQ(Model::load(file).precision(), Precision::kInt8);
  EXPECT_EQ(Model::load(file, {.precision = Precision::kFp32}).precision(), Precision::kFp32);
  EXPECT_EQ(Model::load(model_).precision(), Precision::kFp32);
}

// Integers stay integers until somebody asks for floats, and count as what they are.
TEST_F(Int8File, IsKeptAsItIsStored) {
  const fs::path file = write_int8("int8.safetensors");
  const WeightStore weights = read_checkpoint(file).weights;
  std::uint64_t stored = 0;
  for (const auto& [name, view] : open_tensor_file(file).tensors) {
    stored += static_cast<std::uint64_t>(view.count()) * size_of(view.dtype);
  }
  EXPECT_EQ(weights.bytes(), stored);
  EXPECT_LT(weights.bytes(), before_.weights.bytes());
  const std::string name = "stages.0.blocks.0.mlp.fc1.weight";
  EXPECT_EQ(weights.at(name).dtype, DType::kI8);
  ASSERT_NE(weights.scales(name), nullptr);
  EXPECT_EQ(weights.scales("head.fc.bias"), nullptr);

  // The nearest multiple of a 64th of a row's largest weight.
  const std::vector<float> exact = before_.weights.floats(name), rounded = weights.floats(name);
  ASSERT_EQ(rounded.size(), exact.size());
  const std::size_t row = exact.size() / static_cast<std::size_t>(weights.at(name).shape[0]);
  for (std::size_t first = 0; first < exact.size(); first += row) {
    float largest = 0;
    for (std::size_t i = first; i < first + row; ++i) largest = std::max(largest, std::abs(exact[i]));
    for (std::size_t i = first; i < first + row; ++i) {
      ASSERT_LE(std::abs(exact[i] - rounded[i]), largest / 128 * 1.0001f) << i;
    }
  }

  WeightStore changed = weights;
  changed.add(name, Tensor::zeros(weights.at(name).shape));
  EXPECT_EQ(changed.scales(name), nullptr) << "of the tensor that was there before";
}

TEST_F(Int8File, BecomesFloatsAgain) {
  const Checkpoint file = read_checkpoint(write_int8("int8.safetensors"));
  const WeightStore floats = converted(file.weights, DType::kF32);
  for (const auto& [name, view] : floats.all()) {
    EXPECT_EQ(view.dtype, DType::kF32);
    EXPECT_EQ(floats.floats(name), file.weights.floats(name)) << name;
  }
  // What is not rounded to it is no int8 model, and what is, no other.
  expect_error(ErrorCode::kInvalidArgument, {"int8", "floats"},
               [&] { write_checkpoint(folder_ / "no.safetensors", file.card, floats); });
  expect_error(ErrorCode::kInvalidArgument, {"fp32", "integers"},
               [&] { write_checkpoint(folder_ / "no.safetensors", before_.card, file.weights); });
  expect_error(ErrorCode::kUnsupported, {"own", "integers"},
               [&] { export_checkpoint(folder_ / "no.safetensors", file.card, file.weights, WrittenLayout::kOwn); });
}

TEST_F(Int8File, WithAScaleThatIsNoNumberIsNotWhole) {
  const TensorFile whole = open_tensor_file(write_int8("int8.safetensors"));
  std::map<std::string, ConstTensorView> tensors(whole.tensors.begin(), whole.tensors.end());
  const std::string name = "stages.0.blocks.0.mlp.fc1.weight";
  Tensor scales = Tensor::zeros({whole.tensors.at(name).shape[0]});
  scales.values<float>()[1] = std::numeric_limits<float>::quiet_NaN();
  tensors[name + "_scale"] = std::as_const(scales).view();
  write_safetensors(folder_ / "nan.safetensors", tensors, whole.metadata);
  EXPECT_FALSE(inspect(folder_ / "nan.safetensors").is_whole());
  expect_error(ErrorCode::kDamaged, {name, "NaN"},
               [&] { converted(read_checkpoint(folder_ / "nan.safetensors").weights, DType::kBF16); });
}

TEST_F(Int8File, RoundedTwiceIsRoundedOnce) {
  const WeightStore once = rounded_to_int8(before_.weights);
  const WeightStore twice = rounded_to_int8(once);
  for (const auto& [name, view] : once.all()) EXPECT_EQ(once.floats(name), twice.floats(name)) << name;
}

TEST_F(Int8File, WithScalesOfAnotherSizeIsDamaged) {
  const TensorFile whole = open_tensor_file(write_int8("int8.safetensors"));
  std::map<std::string, ConstTensorView> tensors(whole.tensors.begin(), whole.tensors.end());
  const std::string name = "stages.0.blocks.0.mlp.fc1.weight";
  const Tensor short_scales = Tensor::zeros({3});
  tensors[name + "_scale"] = short_scales.view();
  write_safetensors(folder_ / "damaged.safetensors", tensors, whole.metadata);
  expect_error(ErrorCode::kDamaged, {"damaged.safetensors", name, "(3,)"},
               [&] { read_checkpoint(folder_ / "damaged.safetensors"); });
  tensors.erase(name + "_scale");
  write_safetensors(folder_ / "damaged.safetensors", tensors, whole.metadata);
  expect_error(ErrorCode::kMismatch, {name, "integers"}, [&] { read_checkpoint(folder_ / "damaged.safetensors"); });
}

// ---- the program

class Quantize : public testing::Test {
 protected:
  ChildResult run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), {CONVNEXT_PROGRAM, "quantize"});
    return run_child(arguments, {.folder = folder_.path(), .environment = {}});
  }

  TemporaryFolder folder_;
  std::string model_ = write_tiny_model(folder_ / "tiny.safetensors").string();
  std::string pictures_ = (fs::path(CONVNEXT_SOURCE_DIR) / "examples/pictures").string();
  std::string output_ = (folder_ / "int8.safetensors").string();
};

TEST_F(Quantize, WritesAModelThatVerifiesAndSaysHowNearItIs) {
  const ChildResult result = run({model_, output_, "--calibrate", pictures_, "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json document = json::parse(result.out);
  EXPECT_EQ(document["pictures"], 1);
  EXPECT_GT(document["cosine"], 0.99);
  EXPECT_LT(document["cosine"], 1.0);
  EXPECT_EQ(document["bytes"], fs::file_size(output_));
  EXPECT_LT(fs::file_size(output_), fs::file_size(model_));
  const ChildResult verified =
      run_child({CONVNEXT_PROGRAM, "verify", output_}, {.folder = folder_.path(), .environment = {}});
  EXPECT_EQ(verified.exit_code, 0) << verified.err;
}

TEST_F(Quantize, RefusesAResultThatIsWorseThanAsked) {
  // The tiny model's one picture keeps its class; without a classifier it is the features that are compared.
  Card card = tiny_card();
  std::get<ConvNextConfig>(card.network).classes = 0;
  card.labels.clear();
  const std::string features = write_tiny_model(folder_ / "features.safetensors", card).string();
  const ChildResult result = run({features, output_, "--calibrate", pictures_, "--max-drop", "0"});
  EXPECT_EQ(result.exit_code, 1);
  EXPECT_THAT(result.err, HasSubstr("more than --max-drop 0: nothing was written"));
  EXPECT_FALSE(fs::exists(output_));
  EXPECT_EQ(run({features, output_, "--calibrate", pictures_, "--max-drop", "5"}).exit_code, 0);
}

TEST_F(Quantize, RefusesWhatIsInt8AlreadyAndPytorchOutput) {
  ASSERT_EQ(run({model_, output_, "--calibrate", pictures_}).exit_code, 0);
  const ChildResult again = run({output_, (folder_ / "again.safetensors").string(), "--calibrate", pictures_});
  EXPECT_EQ(again.exit_code, 1);
  EXPECT_THAT(again.err, HasSubstr("already"));
  EXPECT_EQ(run({model_, (folder_ / "int8.pth").string(), "--calibrate", pictures_}).exit_code, 2);
}

TEST_F(Quantize, SaysOnceWhatThereIsToSay) {
  const TensorFile whole = open_tensor_file(model_);
  std::map<std::string, ConstTensorView> tensors(whole.tensors.begin(), whole.tensors.end());
  const Tensor counter = Tensor::zeros({1}, DType::kI64);
  tensors.emplace("decoder.weight", counter.view());
  write_safetensors(folder_ / "more.safetensors", tensors, whole.metadata);
  write_picture(folder_ / "pictures" / "good.png", formula_picture(40, 36, 1));
  write_bytes(folder_ / "pictures" / "bad.png", "no picture");
  const ChildResult result =
      run({(folder_ / "more.safetensors").string(), output_, "--calibrate", (folder_ / "pictures").string(), "--json"});
  EXPECT_EQ(result.exit_code, 1) << "a picture failed";
  const json document = json::parse(result.out);
  EXPECT_EQ(document["pictures"], 1);
  EXPECT_EQ(document["failed"], 1);
  for (const std::string text : {"decoder.weight", "bad.png"}) {
    const std::size_t first = result.err.find(text);
    EXPECT_NE(first, std::string::npos) << result.err;
    EXPECT_EQ(result.err.find('\n', first), result.err.find('\n', result.err.rfind(text))) << result.err;
  }
}

// `info` has it from the weights as they are kept, `inspect` from the file.
TEST_F(Quantize, TheSizeOfAFileIsWhatItStores) {
  ASSERT_EQ(run({model_, output_, "--calibrate", pictures_}).exit_code, 0);
  const std::string bf16 = (folder_ / "bf16.safetensors").string();
  const ChildOptions options{.folder = folder_.path(), .environment = {}};
  ASSERT_EQ(run_child({CONVNEXT_PROGRAM, "convert", model_, bf16, "--dtype", "bf16"}, options).exit_code, 0);
  const auto document = [&](const std::string& command, const std::string& file) {
    return json::parse(run_child({CONVNEXT_PROGRAM, command, file, "--json"}, options).out);
  };
  const std::int64_t params = document("info", model_)["params"];
  EXPECT_EQ(document("info", model_)["weight_bytes"], 4 * params);
  EXPECT_EQ(document("info", bf16)["weight_bytes"], 2 * params);
  EXPECT_LT(document("info", output_)["weight_bytes"], 3 * params);
  for (const std::string& file : {model_, bf16, output_}) {
    EXPECT_EQ(document("info", file)["weight_bytes"], document("inspect", file)["bytes"]) << file;
    EXPECT_LT(document("info", file)["weight_bytes"], fs::file_size(file));
  }
}

TEST_F(Quantize, ComparesTopOneWithLabels) {
  for (const char* label : {"cat", "ship"}) {
    for (int i = 0; i < 3; ++i) {
      Image image{.width = 40, .height = 36, .pixels = std::vector<std::uint8_t>(40 * 36 * 3)};
      for (std::size_t k = 0; k < image.pixels.size(); ++k) {
        image.pixels[k] = static_cast<std::uint8_t>(k * static_cast<std::size_t>(i + 3) + (label[0] == 'c' ? 0 : 90));
      }
      write_picture(folder_ / "data" / label / (std::to_string(i) + ".png"), image);
    }
  }
  const std::string data = (folder_ / "data").string();
  const ChildResult result = run({model_, output_, "--calibrate", data, "--labels", "--max-drop", "100", "--json"});
  ASSERT_EQ(result.exit_code, 0) << result.err;
  const json document = json::parse(result.out);
  EXPECT_EQ(document["pictures"], 6);
  EXPECT_EQ(document["drop_of"], "top-1");
  EXPECT_EQ(document["drop"], document["fp32"]["top1"].get<double>() - document["int8"]["top1"].get<double>());
  // As eval counts them.
  const ChildResult eval = run_child({CONVNEXT_PROGRAM, "eval", data, "--model", output_, "--json"},
                                     {.folder = folder_.path(), .environment = {}});
  EXPECT_EQ(json::parse(eval.out)["top1"], document["int8"]["top1"]);
  // Folders that are no classes of the model's.
  EXPECT_EQ(run({model_, output_, "--calibrate", pictures_, "--labels"}).exit_code, 1);
}

// A picture between two classes: its margin is as far above 0 in one precision as below in the other.
TEST_F(Quantize, RefusesALossOfTopOne) {
  const Image picture = formula_picture(40, 36, 1);
  const auto answers = [&](Precision precision) {
    std::map<std::string, double> log_of;
    for (const Prediction& each : Model::load(model_, {.precision = precision}).classify(picture, 4)) {
      log_of[each.label] = std::log(static_cast<double>(each.probability));
    }
    return log_of;
  };
  const auto best_of = [](const std::map<std::string, double>& log_of) {
    return std::ranges::max_element(log_of, {}, [](const auto& entry) { return entry.second; })->first;
  };
  const std::map<std::string, double> fp32 = answers(Precision::kFp32), int8 = answers(Precision::kInt8);
  const std::string best = best_of(fp32);
  std::map<std::string, double> others = fp32;
  others.erase(best);
  const std::string second = best_of(others);
  const double shift = (fp32.at(best) - fp32.at(second) + int8.at(best) - int8.at(second)) / 2;

  Checkpoint checkpoint = read_checkpoint(model_);
  const auto at = std::ranges::find(checkpoint.card.labels, second) - checkpoint.card.labels.begin();
  WeightStore weights;
  for (const auto& [name, view] : checkpoint.weights.all()) {
    Tensor tensor = converted(checkpoint.weights, name, DType::kF32);
    if (name == "head.fc.bias") tensor.values<float>()[static_cast<std::size_t>(at)] += static_cast<float>(shift);
    weights.add(name, std::move(tensor));
  }
  checkpoint.card.check.reset();
  write_checkpoint(model_, checkpoint.card, weights);
  const std::string answer = best_of(answers(Precision::kFp32));
  ASSERT_NE(answer, best_of(answers(Precision::kInt8)));
  write_picture(folder_ / "data" / answer / "0.png", picture);

  const std::vector<std::string> quantize = {model_,     output_,     "--calibrate", (folder_ / "data").string(),
                                             "--labels", "--max-drop"};
  const auto with_drop = [&](const std::string& most) {
    std::vector<std::string> arguments = quantize;
    arguments.push_back(most);
    return run(arguments);
  };
  const ChildResult refused = with_drop("99");
  EXPECT_EQ(refused.exit_code, 1);
  EXPECT_THAT(refused.err, AllOf(HasSubstr("top-1"), HasSubstr("--max-drop 99: nothing was written")));
  EXPECT_FALSE(fs::exists(output_));
  EXPECT_EQ(with_drop("100").exit_code, 0);
}

}  // namespace
}  // namespace convnext
