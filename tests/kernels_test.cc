// Each fast kernel against the scalar one, on every instruction set that this machine has; linears and what makes their
// inputs narrow are in linear_kernels_test.cc.
#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>
#include <stdexcept>
#include <vector>

#include "kernels/activation.h"
#include "kernels/convolution.h"
#include "kernels/depthwise.h"
#include "kernels/grn.h"
#include "kernels/isa.h"
#include "kernels/layout.h"
#include "kernels/linear.h"
#include "kernels/narrow.h"
#include "kernels/norm.h"
#include "kernels/padding.h"
#include "kernels/pool.h"
#include "kernels/quantize.h"
#include "tests/expect_error.h"
#include "tests/kernel_rows.h"
#include "tests/tensor_compare.h"

namespace convnext {
namespace {

class Kernel : public EachIsa {};

INSTANTIATE_TEST_SUITE_P(Isas, Kernel, testing::ValuesIn(supported_isas()), name_of_isa);

TEST(Isas, EverySupportedOneHasEveryKernel) {
  for (const Isa isa : supported_isas()) {
    SCOPED_TRACE(name_of(isa));
    EXPECT_NE(cpu::activation_for(isa), nullptr);
    EXPECT_NE(cpu::average_pool_for(isa), nullptr);
    EXPECT_NE(cpu::depthwise_for(isa), nullptr);
    EXPECT_NE(cpu::grn_apply_for(isa), nullptr);
    EXPECT_NE(cpu::grn_sums_for(isa), nullptr);
    EXPECT_NE(cpu::linear_for(isa), nullptr);
    EXPECT_NE(cpu::norm_for(isa), nullptr);
    const cpu::LinearLayout layout = cpu::linear_layout(isa, cpu::WeightFormat::kBfloat16);
    if (layout.products == cpu::Products::kBfloat16) {
      EXPECT_NE(cpu::narrow_for(isa), nullptr);
    }
  }
}

// Two backends of one process get the code that each asked for, whatever is best on this machine.
TEST(Isas, EachHasCodeOfItsOwn) {
  std::vector<cpu::LinearFunction> functions;
  for (const Isa isa : supported_isas()) functions.push_back(cpu::linear_for(isa));
  std::sort(functions.begin(), functions.end());
  EXPECT_EQ(std::adjacent_find(functions.begin(), functions.end()), functions.end());
}

TEST(Isas, ThoseOfAnotherProcessorAreRefused) {
#if defined(__x86_64__)
  EXPECT_THROW(cpu::linear_for(Isa::kNeon), std::logic_error);
#else
  EXPECT_THROW(cpu::linear_for(Isa::kAvx2), std::logic_error);
#endif
}

// ---- activation

// GELU is the erf form. The tanh form differs by up to 4.7e-4, and both would pass a careless bound on logits.
TEST_P(Kernel, GeluIsTheErfFormEverywhere) {
  std::vector<float> inputs;
  for (float x = -12; x < 12; x += 1.7e-4f) inputs.push_back(x);
  std::vector<float> outputs = inputs;
  cpu::activation_for(isa())(Activation::kGelu, outputs.data(), outputs.size());
  for (std::size_t i = 0; i < inputs.size(); ++i) {
    const double x = inputs[i];
    const double expected = 0.5 * x * std::erfc(-x * M_SQRT1_2);
    ASSERT_NEAR(outputs[i], expected, 2.5e-7 * std::max(1.0, std::fabs(x))) << "x = " << x;
  }
}

TEST_P(Kernel, GeluIsRelativelyExactNearZero) {
  for (float x = 1e-30f; x < 0.1f; x *= 1.37f) {
    for (const float sign : {1.0f, -1.0f}) {
      float value = sign * x;
      cpu::activation_for(isa())(Activation::kGelu, &value, 1);
      const double exact = 0.5 * double{sign * x} * std::erfc(-double{sign * x} * M_SQRT1_2);
      ASSERT_NEAR(value, exact, 6e-7 * std::fabs(exact)) << "x = " << sign * x;
    }
  }
}

TEST_P(Kernel, OtherActivationsMatchTheReference) {
  for (const Activation kind : {Activation::kGeluTanh, Activation::kSilu}) {
    std::vector<float> inputs;
    for (float x = -120; x < 120; x += 1.3e-3f) inputs.push_back(x);
    std::vector<float> expected = inputs;
    ref::activation(kind, expected);
    std::vector<float> outputs = inputs;
    cpu::activation_for(isa())(kind, outputs.data(), outputs.size());
    for (std::size_t i = 0; i < inputs.size(); ++i) {
      ASSERT_NEAR(outputs[i], expected[i], 4e-7 * std::max(1.0f, std::fabs(expected[i])))
          << name_of(kind) << " of " << inputs[i];
    }
  }
}

TEST_P(Kernel, ActivationsTakeHugeInputsAndKeepNan) {
  for (const Activation kind : {Activation::kGelu, Activation::kGeluTanh, Activation::kSilu}) {
    std::vector<float> values = {1e30f, -1e30f, kNan, 0.0f, 3e5f, -3e5f, kNan, -0.0f, 1.0f};
    cpu::activation_for(isa())(kind, values.data(), values.size());
    EXPECT_EQ(values[0], 1e30f) << name_of(kind);
    EXPECT_NEAR(values[1], 0, 1e-6) << name_of(kind);
    EXPECT_TRUE(std::isnan(values[2])) << name_of(kind);
    EXPECT_EQ(values[3], 0) << name_of(kind);
    EXPECT_EQ(values[4], 3e5f) << name_of(kind);
    EXPECT_NEAR(values[5], 0, 1e-6) << name_of(kind);
    EXPECT_TRUE(std::isnan(values[6])) << name_of(kind);
    EXPECT_EQ(values[7], 0) << name_of(kind);
  }
}

TEST_P(Kernel, ActivationTakesEveryLengthAndAlignmentAndTouchesNothingElse) {
  for (std::size_t length = 0; length <= static_cast<std::size_t>(2 * vector() + 1); ++length) {
    for (std::size_t offset = 0; offset < static_cast<std::size_t>(vector()); ++offset) {
      std::vector<float> values(offset + length + 3, 7.0f);
      const std::vector<float> inputs = random_floats(length, length);
      std::copy(inputs.begin(), inputs.end(), values.begin() + static_cast<std::ptrdiff_t>(offset));
      std::vector<float> expected = inputs;
      ref::activation(Activation::kGelu, expected);
      cpu::activation_for(isa())(Activation::kGelu, values.data() + offset, length);
      for (std::size_t i = 0; i < values.size(); ++i) {
        const bool inside = i >= offset && i < offset + length;
        ASSERT_NEAR(values[i], inside ? expected[i - offset] : 7.0f, inside ? 3e-7 : 0.0)
            << "length " << length << ", offset " << offset << ", element " << i;
      }
    }
  }
}

// ---- norm

TEST_P(Kernel, NormMatchesTheReferenceAtEveryWidthAndAlignment) {
  for (const Norm kind : {Norm::kLayerNorm, Norm::kRmsNorm, Norm::kSimpleNorm}) {
    for (int channels = 2; channels <= 10 * vector() + 1; ++channels) {
      const std::int64_t rows = 1 + channels % 3;
      const std::vector<float> in = random_floats(product({rows, channels}), 1);
      const std::vector<float> weight = random_floats(product({channels}), 2);
      const std::vector<float> bias =
          kind == Norm::kLayerNorm ? random_floats(product({channels}), 3) : std::vector<float>();
      std::vector<float> expected(in.size());
      ref::norm(kind, 1e-6, channels, in, weight, bias, expected);
      const cpu::PackedNorm op = cpu::pack_norm(isa(), kind, 1e-6, channels, weight, bias);
      PaddedRows source(rows, channels, isa(), channels % 5);
      PaddedRows result(rows, channels, isa(), channels % 3);
      source.fill(in);
      cpu::norm_for(isa())(op, rows, source.data(), source.stride(), result.data(), result.stride());
      ASSERT_TRUE(tensors_close(result.values(), expected, {.relative = 1e-6, .largest = 2e-6}))
          << name_of(kind) << " of " << channels;
      ASSERT_TRUE(result.is_clean()) << name_of(kind) << " of " << channels;
      cpu::norm_for(isa())(op, rows, source.data(), source.stride(), source.data(), source.stride());
      ASSERT_EQ(source.values(), result.values()) << name_of(kind) << " of " << channels << " in place";
    }
  }
}

// A mean that is large against the deviations is where E[x^2] - mean^2 would have no digit left.
TEST_P(Kernel, LayerNormKeepsItsDigitsFarFromZero) {
  const int channels = 96;
  std::vector<float> in = random_floats(product({channels}), 1);
  for (float& x : in) x = 1000 + std::round(x * 512) / 1024;  // exact in float32
  const std::vector<float> weight(channels, 1.0f);
  const std::vector<float> bias(channels, 0.0f);
  std::vector<float> expected(in.size());
  ref::norm(Norm::kLayerNorm, 1e-6, channels, in, weight, bias, expected);
  PaddedRows rows(1, channels, isa());
  rows.fill(in);
  const cpu::PackedNorm op = cpu::pack_norm(isa(), Norm::kLayerNorm, 1e-6, channels, weight, bias);
  cpu::norm_for(isa())(op, 1, rows.data(), rows.stride(), rows.data(), rows.stride());
  EXPECT_TRUE(tensors_close(rows.values(), expected, {.relative = 2e-4, .largest = 2e-4}));
}

TEST(ReferenceNorm, FollowsItsFormula) {
  const std::vector<float> in = {1, 2, 3, 6};
  const std::vector<float> weight = {1, 2, 1, 1};
  const std::vector<float> bias = {0, 1, 0, 0};
  std::vector<float> out(4);
  ref::norm(Norm::kLayerNorm, 0.5, 4, in, weight, bias, out);  // mean 3, variance 14 / 4
  EXPECT_THAT(out, testing::Pointwise(testing::FloatEq(), {-1.0f, 0.0f, 0.0f, 1.5f}));
  ref::norm(Norm::kRmsNorm, 3.5, 4, in, weight, {}, out);  // mean square 50 / 4
  EXPECT_THAT(out, testing::Pointwise(testing::FloatEq(), {0.25f, 1.0f, 0.75f, 1.5f}));
  ref::norm(Norm::kSimpleNorm, 4.0 - 14.0 / 3, 4, in, weight, {}, out);  // unbiased variance 14 / 3
  EXPECT_THAT(out, testing::Pointwise(testing::FloatEq(), {0.5f, 2.0f, 1.5f, 3.0f}));
}

// ---- depthwise

void expect_depthwise(Isa isa, int kernel, std::int64_t height, std::int64_t width, int channels) {
  SCOPED_TRACE(fmt::format("kernel {}, {} x {} x {}", kernel, height, width, channels));
  const std::int64_t pixels = height * width;
  const std::vector<float> in = random_floats(product({pixels, channels}), 1);
  const std::vector<float> weight = random_floats(product({channels, kernel, kernel}), 2);
  const std::vector<float> bias = random_floats(product({channels}), 3);
  std::vector<float> expected(in.size());
  ref::depthwise(kernel, height, width, channels, in, weight, bias, expected);
  const cpu::PackedDepthwise op = cpu::pack_depthwise(isa, kernel, channels, weight, bias);
  PaddedRows source(pixels, channels, isa);
  source.fill(in);
  PaddedRows result(pixels, channels, isa, width % 3);
  const auto depthwise = cpu::depthwise_for(isa);
  depthwise(op, height, width, source.data(), source.stride(), 0, pixels, result.data(), result.stride());
  EXPECT_TRUE(tensors_close(result.values(), expected, {.relative = 1e-6, .largest = 3e-6}));
  EXPECT_TRUE(result.is_clean());

  // In two pieces that begin and end in the middle of a row: the same bits.
  PaddedRows pieces(pixels, channels, isa);
  const std::int64_t cut = pixels * 2 / 5;
  depthwise(op, height, width, source.data(), source.stride(), 0, cut, pieces.data(), pieces.stride());
  depthwise(op, height, width, source.data(), source.stride(), cut, pixels - cut, pieces.data() + cut * pieces.stride(),
            pieces.stride());
  EXPECT_EQ(pieces.values(), result.values());
}

TEST_P(Kernel, DepthwiseMatchesTheReferenceForEveryKernel) {
  for (const int kernel : {1, 3, 5, 7, 9, 11, 31}) {
    for (const int channels : {1, vector(), vector() + 1, 20}) {
      expect_depthwise(isa(), kernel, 9, 11, channels);
      if (HasFailure()) return;
    }
  }
}

TEST_P(Kernel, DepthwiseMatchesTheReferenceForEverySmallPicture) {
  for (const int kernel : {3, 5, 7, 9}) {
    for (std::int64_t height = 1; height <= 9; ++height) {
      for (std::int64_t width = 1; width <= 9; ++width) {
        expect_depthwise(isa(), kernel, height, width, 5);
        if (HasFailure()) return;
      }
    }
  }
}

TEST_P(Kernel, DepthwiseMatchesTheReferenceForEveryWidthOfARow) {
  for (std::int64_t width = 1; width <= 60; ++width) {
    expect_depthwise(isa(), 7, 4, width, 3);
    if (HasFailure()) return;
  }
}

// ---- dense convolution

void expect_convolution(Isa isa, const ConvolutionShape& shape, std::int64_t height, std::int64_t width, bool nchw) {
  SCOPED_TRACE(fmt::format("{} -> {} channels, kernel {}, stride {}, padding {}, {} x {}, {}", shape.in_channels,
                           shape.out_channels, shape.kernel, shape.stride, shape.padding, height, width,
                           nchw ? "NCHW" : "NHWC"));
  const std::int64_t pixels = height * width;
  const std::int64_t outputs = shape.out_side(height) * shape.out_side(width);
  const std::vector<float> in = random_floats(product({pixels, shape.in_channels}), 1);
  const std::vector<float> weight =
      random_floats(product({shape.out_channels, shape.in_channels, shape.kernel, shape.kernel}), 2);
  const std::vector<float> bias = random_floats(product({shape.out_channels}), 3);
  std::vector<float> expected(product({outputs, shape.out_channels}));
  ref::convolution(shape, height, width, in, weight, bias, expected);

  cpu::PictureView view;
  cpu::WindowLayout layout;
  std::vector<float> planes(in.size());
  PaddedRows rows(pixels, shape.in_channels, isa);
  if (nchw) {
    nhwc_to_nchw(in.data(), shape.in_channels, 0, shape.in_channels, pixels, planes.data());
    view = {planes.data(), height, width, shape.in_channels, width, 1, pixels};
    layout = cpu::planar_windows(shape);
  } else {
    rows.fill(in);
    view = {rows.data(), height, width, shape.in_channels, width * rows.stride(), rows.stride(), 1};
    layout = cpu::pixel_windows(shape, row_stride(shape.in_channels, isa));
  }
  const auto window = static_cast<int>(layout.size);
  const cpu::PackedLinear op =
      cpu::pack_linear(isa, window, shape.out_channels, cpu::window_matrix(shape, layout, weight), bias);
  std::vector<float> windows(product({outputs, window}), kNan);
  const std::int64_t cut = outputs / 3;
  cpu::gather_windows(shape, layout, view, 0, cut, windows.data());
  cpu::gather_windows(shape, layout, view, cut, outputs - cut, windows.data() + cut * window);
  PaddedRows result(outputs, shape.out_channels, isa);
  cpu::linear_for(isa)(op, cpu::whole_linear(op, outputs, windows.data(), window, result.data(), result.stride()));
  EXPECT_TRUE(tensors_close(result.values(), expected, {.relative = 1e-6, .largest = 3e-6}));
  EXPECT_TRUE(result.is_clean());
}

TEST_P(Kernel, ConvolutionMatchesTheReferenceForStemsAndDownsampling) {
  for (const bool nchw : {false, true}) {
    for (const int side : {8, 9, 10, 11, 17}) {
      expect_convolution(isa(), {3, 20, 4, 4, 0}, side, side + 1, nchw);
      expect_convolution(isa(), {1, 7, 2, 2, 0}, side, side + 3, nchw);
      expect_convolution(isa(), {4, 9, 1, 1, 0}, side, side, nchw);
      expect_convolution(isa(), {3, 12, 3, 2, 1}, side, side + 2, nchw);
      expect_convolution(isa(), {13, 16, 3, 2, 1}, side + 1, side, nchw);
      expect_convolution(isa(), {33, 65, 2, 2, 0}, side, side + 1, nchw);
      expect_convolution(isa(), {5, 3, 8, 8, 0}, side, side, nchw);
      if (HasFailure()) return;
    }
  }
}

TEST(ReferenceConvolution, DropsWindowsThatDoNotFit) {
  const ConvolutionShape shape{1, 1, 2, 2, 0};
  EXPECT_EQ(shape.out_side(1), 0);
  EXPECT_EQ(shape.out_side(2), 1);
  EXPECT_EQ(shape.out_side(3), 1);
  EXPECT_EQ((ConvolutionShape{1, 1, 3, 2, 1}.out_side(1)), 1);
  const std::vector<float> in = {1, 2, 9, 3, 4, 9, 9, 9, 9};
  std::vector<float> out(1);
  ref::convolution(shape, 3, 3, in, std::vector<float>{1, 10, 100, 1000}, std::vector<float>{0.5f}, out);
  EXPECT_EQ(out[0], 4321.5f);
}

// ---- global response normalisation

TEST_P(Kernel, GrnMatchesTheReferenceForEveryWidthAndSize) {
  for (const int channels : {1, 3, vector(), vector() + 1, 5 * vector() - 1, 384}) {
    for (const std::int64_t pixels : {1, 2, 63, 64, 65, 300}) {
      SCOPED_TRACE(fmt::format("{} pixels of {}", pixels, channels));
      const std::vector<float> in = random_floats(product({pixels, channels}), 1);
      const std::vector<float> weight = random_floats(product({channels}), 2);
      const std::vector<float> bias = random_floats(product({channels}), 3);
      std::vector<float> expected = in;
      ref::grn(channels, weight, bias, expected);
      const cpu::PackedGrn op = cpu::pack_grn(isa(), channels, weight, bias);
      PaddedRows map(pixels, channels, isa());
      map.fill(in);
      const std::ptrdiff_t padded = padded_channels(channels, isa());
      std::vector<float> sums(static_cast<std::size_t>(padded), kNan);
      const std::ptrdiff_t half = round_up(padded / 2, vector());
      cpu::grn_sums_for(isa())(map.data(), pixels, map.stride(), 0, half, sums.data());
      cpu::grn_sums_for(isa())(map.data(), pixels, map.stride(), half, padded, sums.data());
      cpu::grn_factors(op, sums);
      cpu::grn_apply_for(isa())(op, sums.data(), pixels, map.data(), map.stride());
      ASSERT_TRUE(tensors_close(map.values(), expected, {.relative = 1e-6, .largest = 2e-6}));
      ASSERT_TRUE(map.is_clean());
    }
  }
}

TEST(ReferenceGrn, IsTheIdentityAtItsInitialisation) {
  std::vector<float> map = random_floats(60, 1);
  const std::vector<float> before = map;
  ref::grn(5, std::vector<float>(5), std::vector<float>(5), map);
  EXPECT_EQ(map, before);
}

TEST(ReferenceGrn, FollowsItsFormula) {
  std::vector<float> map = {3, 0, 4, 5};  // two pixels; G = 5, 5; N = 1 - 2e-7
  ref::grn(2, std::vector<float>{1, 2}, std::vector<float>{0.5f, 0}, map);
  EXPECT_THAT(map, testing::Pointwise(testing::FloatNear(1e-5f), {6.5f, 0.0f, 8.5f, 15.0f}));
}

// ---- pool and layout

TEST_P(Kernel, AveragePoolMatchesTheReference) {
  for (const int channels : {1, vector(), 3 * vector() + 1, 50}) {
    for (const std::int64_t pixels : {1, 49, 64, 65, 200}) {
      SCOPED_TRACE(fmt::format("{} pixels of {}", pixels, channels));
      const std::vector<float> in = random_floats(product({pixels, channels}), 1);
      std::vector<float> expected(product({channels}));
      ref::average_pool(channels, in, expected);
      PaddedRows map(pixels, channels, isa());
      map.fill(in);
      PaddedRows pooled(1, channels, isa());
      cpu::average_pool_for(isa())(map.data(), pixels, map.stride(), padded_channels(channels, isa()), pooled.data());
      ASSERT_TRUE(tensors_close(pooled.values(), expected, {.relative = 1e-6, .largest = 2e-6}));
      ASSERT_TRUE(pooled.is_clean());
    }
  }
}

TEST(Layout, ChangesOrderAndBack) {
  for (const int channels : {1, 3, 16, 37}) {
    for (const std::int64_t pixels : {1, 63, 64, 65, 130}) {
      SCOPED_TRACE(fmt::format("{} pixels of {}", pixels, channels));
      const std::vector<float> planes = random_floats(product({channels, pixels}), 1);
      const std::ptrdiff_t stride = channels + 5;
      std::vector<float> rows(product({pixels, stride}), 7.0f);
      nchw_to_nhwc(planes.data(), channels, pixels, rows.data(), stride);
      for (std::int64_t p = 0; p < pixels; ++p) {
        for (std::int64_t c = 0; c < stride; ++c) {
          const float expected = c < channels ? planes[static_cast<std::size_t>(c * pixels + p)] : 7.0f;
          ASSERT_EQ(rows[static_cast<std::size_t>(p * stride + c)], expected);
        }
      }
      std::vector<float> back(planes.size());
      nhwc_to_nchw(rows.data(), stride, 0, channels / 2, pixels, back.data());
      nhwc_to_nchw(rows.data(), stride, channels / 2, channels, pixels, back.data());
      ASSERT_EQ(back, planes);
    }
  }
}

TEST(Padding, StridesAreWholeVectorsAndNeverAMultipleOfAKilobyte) {
  for (const Isa isa : supported_isas()) {
    for (int channels = 1; channels <= 4096; ++channels) {
      const std::ptrdiff_t stride = row_stride(channels, isa);
      ASSERT_GE(stride, channels);
      ASSERT_EQ(stride % lanes(isa), 0) << channels;
      ASSERT_NE(stride % 256, 0) << channels;
    }
  }
}

}  // namespace
}  // namespace convnext
