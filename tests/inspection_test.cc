// What is told of a file, whole or not, and of its numbers.
#include "model/inspection.h"

#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "io/safetensors.h"
#include "model/formula.h"
#include "model/tensors.h"
#include "temporary_folder.h"
#include "tests/layout_networks.h"

namespace convnext {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::SizeIs;

class Inspecting : public testing::Test {
 protected:
  // Writes a bare file; `change` may spoil it before.
  template <typename Change>
  Inspection of(const Change& change) {
    std::map<std::string, Tensor> tensors;
    const Card card = small_card("convnext_tiny");
    for (const TensorSpec& spec : tensor_specs(card.network)) tensors.emplace(spec.name, formula_tensor(spec, 1));
    change(tensors);
    std::map<std::string, ConstTensorView> views;
    for (const auto& [name, tensor] : tensors) views.emplace(name, tensor.view());
    write_safetensors(folder_ / "bare.safetensors", views, {});
    return inspect(folder_ / "bare.safetensors");
  }
  using Tensors = std::map<std::string, Tensor>;

  TemporaryFolder folder_;
};

TEST_F(Inspecting, AWholeModelHasNothingToReport) {
  const Inspection inspection = of([](Tensors&) {});
  EXPECT_TRUE(inspection.is_whole());
  EXPECT_EQ(inspection.kind, TensorFileKind::kSafetensors);
  EXPECT_EQ(inspection.layout, WeightLayout::kTimm);
  EXPECT_EQ(inspection.types.at(DType::kF32).tensors, static_cast<std::int64_t>(inspection.tensors.size()));
  ASSERT_TRUE(inspection.card);
  EXPECT_FALSE(inspection.card->has_card);
  EXPECT_EQ(inspection.card->origins.at("dims"), "the tensors' shapes");
}

TEST_F(Inspecting, CountsWhatIsNotFinite) {
  const Inspection inspection = of([](Tensors& tensors) {
    auto values = tensors.at("stages.1.downsample.1.weight").values<float>();
    values[3] = values[7] = std::numeric_limits<float>::quiet_NaN();
    values[5] = -std::numeric_limits<float>::infinity();
  });
  EXPECT_FALSE(inspection.is_whole());
  EXPECT_THAT(inspection.misfits, IsEmpty());
  for (const InspectedTensor& tensor : inspection.tensors) {
    const bool spoilt = tensor.key == "stages.1.downsample.1.weight";
    EXPECT_EQ(tensor.statistics.nans, spoilt ? 2 : 0) << tensor.key;
    EXPECT_EQ(tensor.statistics.infinities, spoilt ? 1 : 0) << tensor.key;
  }
}

TEST_F(Inspecting, ListsAllThatDoesNotFitAndNotOnlyTheFirst) {
  const Inspection inspection = of([](Tensors& tensors) {
    tensors.erase("stages.0.blocks.0.norm.bias");
    tensors.erase("head.norm.weight");
    tensors["stages.2.blocks.1.mlp.fc1.weight"] = Tensor::zeros({3, 3});
    tensors["head.extra"] = Tensor::zeros({1});
  });
  EXPECT_FALSE(inspection.is_whole());
  std::vector<std::string> keys;
  for (const Misfit& misfit : inspection.misfits) keys.push_back(misfit.key);
  EXPECT_THAT(keys, testing::UnorderedElementsAre("stages.0.blocks.0.norm.bias", "head.norm.weight",
                                                  "stages.2.blocks.1.mlp.fc1.weight", "head.extra"));
}

TEST_F(Inspecting, DamagedMissingAndForeignFilesAreDescribedAsFarAsTheyGo) {
  folder_.write("damaged.safetensors", "This is no file of weights.");
  const Inspection damaged = inspect(folder_ / "damaged.safetensors");
  EXPECT_FALSE(damaged.is_whole());
  EXPECT_THAT(damaged.problems, ElementsAre(HasSubstr("damaged.safetensors")));
  EXPECT_THAT(inspect(folder_ / "missing.pth").problems, ElementsAre(HasSubstr("missing.pth")));
  const Inspection foreign = of([](Tensors& tensors) {
    tensors.clear();
    tensors["conv1.weight"] = Tensor::zeros({2, 2});
  });
  EXPECT_FALSE(foreign.is_whole());
  EXPECT_FALSE(foreign.layout);
  EXPECT_THAT(foreign.tensors, SizeIs(1));
  EXPECT_THAT(foreign.problems, ElementsAre(HasSubstr("conv1.weight")));
}

TEST_F(Inspecting, AgainstANamedNetworkAllTensorsAreCompared) {
  of([](Tensors&) {});
  const Inspection inspection = inspect(folder_ / "bare.safetensors", "convnext_small");
  EXPECT_FALSE(inspection.is_whole());
  EXPECT_GT(inspection.misfits.size(), 100u);
  EXPECT_THAT(inspection.problems, ElementsAre(HasSubstr("convnext_small")));
}

// Statistics.

template <typename T>
TensorStatistics statistics_of(DType dtype, std::vector<T> values) {
  Tensor tensor = Tensor::zeros({static_cast<std::int64_t>(values.size())}, dtype);
  std::ranges::copy(values, tensor.values<T>().begin());
  return tensor_statistics(std::as_const(tensor).view());
}

TEST(TensorStatisticsTest, AreThoseOfTheFiniteElements) {
  const float infinity = std::numeric_limits<float>::infinity();
  const TensorStatistics s =
      statistics_of<float>(DType::kF32, {1.0f, -3.0f, std::nanf(""), 5.0f, infinity, -infinity, 1.0f});
  EXPECT_EQ(s.count, 7);
  EXPECT_EQ(s.nans, 1);
  EXPECT_EQ(s.infinities, 2);
  EXPECT_EQ(s.least, -3.0);
  EXPECT_EQ(s.greatest, 5.0);
  EXPECT_DOUBLE_EQ(s.mean, 1.0);
  EXPECT_DOUBLE_EQ(s.deviation, std::sqrt(8.0));
  EXPECT_FALSE(s.all_finite());
}

TEST(TensorStatisticsTest, OfEveryKindOfType) {
  EXPECT_EQ(statistics_of<double>(DType::kF64, {1e300, -1e300}).greatest, 1e300);
  EXPECT_EQ(statistics_of<std::int64_t>(DType::kI64, {-7, 9}).least, -7.0);
  EXPECT_EQ(statistics_of<std::uint8_t>(DType::kBool, {1, 0}).mean, 0.5);
  EXPECT_EQ(statistics_of<std::uint16_t>(DType::kF16, {0x3c00, 0x7c00, 0x7e00}).infinities, 1);  // 1, inf, NaN
  EXPECT_EQ(statistics_of<std::uint16_t>(DType::kBF16, {0x3f80, 0x7fc0}).nans, 1);
  EXPECT_EQ(statistics_of<float>(DType::kF32, {}).count, 0);
  EXPECT_EQ(statistics_of<float>(DType::kF32, {std::nanf("")}).greatest, 0.0);
  // A large mean does not swallow a small deviation.
  EXPECT_NEAR(statistics_of<double>(DType::kF64, {1e9, 1e9 + 1}).deviation, 0.5, 1e-6);
}

}  // namespace
}  // namespace convnext
