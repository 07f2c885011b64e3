// What bf16 and int8 promise: how near they are to fp32, that they are not fp32 under another name, and that an answer
// does not depend on what is computed beside it.
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <memory>
#include <string>
#include <tuple>

#include "engine/backend.h"
#include "model/formula.h"
#include "model/registry.h"
#include "tests/engine_runs.h"
#include "tests/tensor_compare.h"

namespace convnext {
namespace {

// The least cosine of pooled features and logits with those of fp32. A rounded weight is off by 0.1 % (bf16) or 1 %
// (int8) of the usual weight; so is the output of a linear, and after twenty the errors e make a cosine of 1 - e^2 / 2,
// with e^2 20 times as large.
double least_cosine(Precision precision) { return precision == Precision::kBf16 ? 0.9999 : 0.999; }

double cosine(const Tensor& a, const Tensor& b) {
  double product = 0;
  double a_square = 0;
  double b_square = 0;
  for (std::size_t i = 0; i < a.values<float>().size(); ++i) {
    const double x = a.values<float>()[i];
    const double y = b.values<float>()[i];
    product += x * y;
    a_square += x * x;
    b_square += y * y;
  }
  return product / std::sqrt(a_square * b_square);
}

class NarrowPrecision : public testing::TestWithParam<std::tuple<std::string, Precision>> {
 protected:
  std::string isa() const { return std::get<0>(GetParam()); }
  Precision precision() const { return std::get<1>(GetParam()); }
  std::unique_ptr<Executable> compile(const NetworkConfig& config) const {
    return make_cpu_backend(isa())->compile(config, formula_weights(config, 1), precision());
  }
};

GTEST_ALLOW_UNINSTANTIATED_PARAMETERIZED_TEST(NarrowPrecision);
INSTANTIATE_TEST_SUITE_P(Isas, NarrowPrecision,
                         testing::Combine(testing::ValuesIn(fast_isas()),
                                          testing::Values(Precision::kBf16, Precision::kInt8)),
                         [](const auto& test) {
                           return std::get<0>(test.param) + "_" + std::string(name_of(std::get<1>(test.param)));
                         });

void expect_near(const Results& actual, const Results& expected, Precision precision) {
  EXPECT_GT(cosine(actual.pooled, expected.pooled), least_cosine(precision));
  EXPECT_FALSE(tensors_close(actual.pooled, expected.pooled)) << "the same as fp32";
  if (!actual.logits.values<float>().empty()) {
    EXPECT_GT(cosine(actual.logits, expected.logits), least_cosine(precision));
  }
}

TEST_P(NarrowPrecision, IsNearFp32ForEveryRegisteredNetwork) {
  ThreadPool pool(2);
  for (const RegistryEntry& entry : registry()) {
    SCOPED_TRACE(entry.name);
    NetworkConfig config = entry.network;
    if (!std::holds_alternative<ConvNextConfig>(config)) continue;  // the engine runs ConvNeXts
    auto& network = std::get<ConvNextConfig>(config);
    // Of the widest one block a stage: the others are the same code on the same sizes.
    for (int& depth : network.depths) depth = std::min(depth, network.dims.back() > 768 ? 1 : 2);
    const WeightStore weights = formula_weights(config, 1);
    const Tensor input = formula_input("input", {1, 3, 70, 85}, 1);
    const auto fp32 = make_cpu_backend(isa())->compile(config, weights, Precision::kFp32);
    const auto narrow = make_cpu_backend(isa())->compile(config, weights, precision());
    expect_near(run(*narrow, config, input, &pool), run(*fp32, config, input, &pool), precision());
    EXPECT_LT(narrow->weight_bytes(), fp32->weight_bytes());
  }
}

TEST_P(NarrowPrecision, IsNearFp32ForEveryStemNormActivationAndHead) {
  for (const Stem stem : {Stem::kPatch, Stem::kOverlap, Stem::kOverlapTiered, Stem::kOverlapAct}) {
    for (const Norm norm : {Norm::kLayerNorm, Norm::kRmsNorm}) {
      for (const Head head : {Head::kPoolNorm, Head::kNormPool, Head::kMlp}) {
        SCOPED_TRACE(fmt::format("{} {} {}", name_of(stem), name_of(norm), name_of(head)));
        ConvNextConfig config = stem == Stem::kPatch ? with_grn() : small_network();
        config.stem = stem;
        config.norm = norm;
        config.head = head;
        config.head_hidden = head == Head::kMlp ? 45 : 0;
        config.activation = norm == Norm::kRmsNorm ? Activation::kSilu : Activation::kGelu;
        const Tensor input = formula_input("input", {2, 3, 61, 52}, 1);
        const auto fp32 = make_cpu_backend(isa())->compile(config, formula_weights(config, 1), Precision::kFp32);
        expect_near(run(*compile(config), config, input), run(*fp32, config, input), precision());
      }
    }
  }
}

TEST_P(NarrowPrecision, IsNearFp32ForHiddenActivationsOfManySlices) {
  for (const bool grn : {false, true}) {
    ConvNextConfig config = wide_network();
    config.grn = grn;
    const Tensor input = formula_input("input", {2, 3, 90, 75}, 1);
    const auto fp32 = make_cpu_backend(isa())->compile(config, formula_weights(config, 1), Precision::kFp32);
    expect_near(run(*compile(config), config, input), run(*fp32, config, input), precision());
  }
}

TEST_P(NarrowPrecision, GivesTheSameBitsWithAnyNumberOfThreadsAndInAnyBatch) {
  ConvNextConfig wide_with_grn = wide_network();
  wide_with_grn.grn = true;
  for (const ConvNextConfig& config : {small_network(), with_grn(), wide_network(), wide_with_grn}) {
    const auto executable = compile(config);
    const Tensor batch = formula_input("input", {3, 3, 90, 75}, 1);
    const Results alone = run(*executable, config, batch);
    for (const int threads : {2, 7}) {
      SCOPED_TRACE(threads);
      ThreadPool pool(threads);
      const Results together = run(*executable, config, batch, &pool);
      EXPECT_TRUE(tensors_close(together.logits, alone.logits, {.relative = 0, .largest = 0}));
      EXPECT_TRUE(tensors_close(together.stages.back(), alone.stages.back(), {.relative = 0, .largest = 0}));
      Tensor picture = Tensor::zeros({1, 3, 90, 75});
      const std::size_t size = picture.values<float>().size();
      std::copy_n(batch.values<float>().begin() + static_cast<std::ptrdiff_t>(size), size,
                  picture.values<float>().begin());
      const Results single = run(*executable, config, picture, &pool);
      const std::size_t classes = single.logits.values<float>().size();
      EXPECT_TRUE(tensors_close(single.logits.values<float>(), alone.logits.values<float>().subspan(classes, classes),
                                {.relative = 0, .largest = 0}));
    }
  }
}

// A picture with a NaN gives NaN, not a number that looks like an answer.
TEST_P(NarrowPrecision, LetsNanThrough) {
  const ConvNextConfig config = small_network();
  Tensor input = formula_input("input", {1, 3, 40, 40}, 1);
  input.values<float>()[700] = std::numeric_limits<float>::quiet_NaN();
  const Results results = run(*compile(config), config, input);
  EXPECT_TRUE(std::isnan(results.logits.values<float>()[0]));
}

}  // namespace
}  // namespace convnext
