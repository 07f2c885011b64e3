// --precision: the program computes in what it is told, as the library does.
#include <gmock/gmock.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "child_process.h"
#include "convnext/convnext.h"
#include "io/npy.h"
#include "pictures.h"
#include "temporary_folder.h"
#include "tensor_compare.h"
#include "tiny_model.h"

namespace convnext {
namespace {

using testing::AllOf;
using testing::HasSubstr;

class PrecisionOption : public testing::Test {
 protected:
  void SetUp() override {
    write_picture(folder_ / "pictures/cat/one.png", picture_);
    write_picture(folder_ / "pictures/dog/two.png", formula_picture(30, 50, 4));
    write_npy(folder_ / "input.npy", formula_input("input", {2, 3, 32, 32}, 1).view());
  }

  ChildResult run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), CONVNEXT_PROGRAM);
    arguments.insert(arguments.end(), {"--model", model_});
    return run_child(arguments, {.folder = folder_.path(), .environment = {}});
  }

  // The commands that have the option.
  static std::vector<std::vector<std::string>> commands() {
    return {{"classify", "pictures/cat/one.png", "--json"},
            {"embed", "pictures", "--output", "features.npy"},
            {"eval", "pictures", "--json"},
            {"run", "--input", "input.npy", "--output", "logits.npy"}};
  }

  static std::vector<std::string> with(std::vector<std::string> command, std::string_view precision) {
    command.insert(command.end(), {"--precision", std::string(precision)});
    return command;
  }

  TemporaryFolder folder_;
  const Image picture_ = formula_picture(50, 40, 3);
  const std::string model_ = write_tiny_model(folder_ / "tiny.safetensors").string();
};

class EachPrecision : public PrecisionOption, public testing::WithParamInterface<Precision> {};

TEST_P(EachPrecision, IsWhatTheLibraryMakesOfIt) {
  const std::string_view name = name_of(GetParam());
  std::optional<Model> model;
  std::string refusal;
  try {
    model = Model::load(model_, {.precision = GetParam()});
  } catch (const Error& error) {
    ASSERT_EQ(error.code(), ErrorCode::kUnsupported);
    refusal = error.what();
  }
  for (const std::vector<std::string>& command : commands()) {
    const ChildResult result = run(with(command, name));
    EXPECT_EQ(result.exit_code, model ? 0 : 1) << command.front() << ": " << result.err;
    EXPECT_THAT(result.err, HasSubstr(refusal));
  }
  if (!model) return;
  Context context(*model, 1);
  const Tensor input = formula_input("input", {2, 3, 32, 32}, 1);
  EXPECT_TRUE(tensors_close(read_npy(folder_ / "logits.npy").values<float>(),
                            model->run(input.view(), context).logits.values<float>()));
  EXPECT_TRUE(
      tensors_close(read_npy(folder_ / "features.npy").values<float>().first(16), model->embed(picture_, context)));
}

// Another precision gives other numbers; only slightly so.
TEST_P(EachPrecision, ChangesTheArithmetic) {
  std::optional<Model> model;
  try {
    model = Model::load(model_, {.precision = GetParam()});
  } catch (const Error&) {
    GTEST_SKIP() << "this build has no " << name_of(GetParam());
  }
  const std::vector<float> exact = Model::load(model_).embed(picture_);
  const std::vector<float> got = model->embed(picture_);
  EXPECT_EQ(got == exact, GetParam() == Precision::kFp32);
  EXPECT_TRUE(tensors_close(got, exact, {.relative = 0.1, .largest = 0.1}));
}

INSTANTIATE_TEST_SUITE_P(Of, EachPrecision, testing::Values(Precision::kFp32, Precision::kBf16, Precision::kInt8),
                         [](const auto& info) { return std::string(name_of(info.param)); });

TEST_F(PrecisionOption, NamesAreCheckedBeforeAnythingIsRead) {
  for (const std::vector<std::string>& command : commands()) {
    const ChildResult result = run(with(command, "fp8"));
    EXPECT_EQ(result.exit_code, 2) << command.front();
    EXPECT_THAT(result.err, AllOf(HasSubstr("--precision"), HasSubstr("fp8"), HasSubstr("bf16"), HasSubstr("int8")));
    EXPECT_THAT(run({command.front(), "--help"}).out, HasSubstr("--precision"));
  }
}

}  // namespace
}  // namespace convnext
